"""A control group of a test's own, whose memory can be limited."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.eventually import eventually

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
# What versions 1 and 2 call the limit, what is used of it, and what keeps a process from going to
# the disk instead.
_LIMITS = ("memory.limit_in_bytes", "memory.max")
_USED = ("memory.usage_in_bytes", "memory.current")
_SWAPS = ("memory.swappiness", "memory.swap.max")


@dataclass(frozen=True)
class MemoryGroup:
    """One that processes can be started in: see cgroups(7)."""

    place: Path

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command line begins with whose process is to be in the group."""
        enter = 'echo $$ > "$0" && exec "$@"'
        return ("sh", "-c", enter, str(self.place / "cgroup.procs"))

    def limit(self, more_bytes: int) -> None:
        """Leave the processes so much more than they have, and nowhere else to go."""
        used = int(_one_of(self.place, _USED).read_text())
        for name in _SWAPS:
            if (self.place / name).exists():
                (self.place / name).write_text("0")
        _one_of(self.place, _LIMITS).write_text(str(used + more_bytes))

    def is_empty(self) -> bool:
        """Whether no process is left in it."""
        return not (self.place / "cgroup.procs").read_text()


@contextmanager
def memory_group() -> Iterator[MemoryGroup | None]:
    """An empty group until the block's end; None where this process may make none."""
    place = next(filter(None, map(_made, _parents())), None)
    if place is None:
        yield None
        return
    group = MemoryGroup(place)
    try:
        yield group
    finally:
        eventually(group.is_empty, 30)
        place.rmdir()


def _parents() -> list[Path]:
    """Groups that may have another one: this process's own, and the one above it."""
    if not _MEMBERSHIP.exists():
        return []
    lines = [line.split(":", 2) for line in _MEMBERSHIP.read_text().splitlines()]
    own = {names: path.lstrip("/") for _, names, path in lines}
    older, newer = _ROOT / "memory" / own.get("memory", ""), _ROOT / own.get("", "")
    return [older, newer, newer.parent] if "memory" in own else [newer, newer.parent]


def _made(parent: Path) -> Path | None:
    """A new group there; None where that is not allowed, or would not count memory."""
    if _ROOT not in (parent, *parent.parents):
        return None
    place = parent / f"thalweg-test-{os.getpid()}"
    try:
        place.mkdir()
    except OSError:
        return None
    if any((place / name).exists() for name in _LIMITS):
        return place
    place.rmdir()
    return None


def _one_of(place: Path, names: tuple[str, ...]) -> Path:
    return next(place / name for name in names if (place / name).exists())

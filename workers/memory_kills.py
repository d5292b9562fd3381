"""Processes that the kernel has killed here for want of memory."""

import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_MACHINE = Path("/proc/vmstat")
_COUNTER = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)

# The kernel counts a kill before all that the process held is free, and so before it is gone.
_LATELY_SECONDS = 5.0


def count_memory_kills(
    root: Path = _ROOT, membership: Path = _MEMBERSHIP, machine: Path = _MACHINE
) -> int:
    """Those in this process's control group so far; 0 where the kernel does not say.

    `root` is where control groups are mounted and `membership` the list of this process's own, both
    as cgroups(7) has them, in version 1 or 2. Where no group counts its memory, those of the whole
    `machine`, as proc(5) has them.
    """
    for place in (*_counters(root, membership), machine):
        try:
            found = _COUNTER.search(place.read_text())
        except OSError:
            # A container sees its own group at the root, whatever the group is called outside.
            continue
        if found:
            return int(found[1])
    return 0


def _counters(root: Path, membership: Path) -> list[Path]:
    """Where the count may stand, the nearest first."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    groups = {names: path.lstrip("/") for _, names, path in (line.split(":", 2) for line in lines)}
    older, newer = root / "memory", groups.get("", "")
    return [
        older / groups.get("memory", "") / "memory.oom_control",
        older / "memory.oom_control",
        root / newer / "memory.events",
        root / "memory.events",
    ]


class RecentKills:
    """Knows whether there was a kill in the last seconds, as far as it has been noted in time.

    `count` gives the kills so far; `clock` counts seconds.
    """

    def __init__(
        self,
        count: Callable[[], int] = count_memory_kills,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._clock = clock
        # When, and how many there were then; the first entry is what the next ones are held to.
        self._noted = deque([(clock(), count())])

    def any(self) -> bool:
        """Whether there are more than there were some seconds before the last note."""
        return self._count() > self._noted[0][1]

    def note(self) -> None:
        """Let those of long ago be."""
        now = self._clock()
        self._noted.append((now, self._count()))
        while self._noted[1][0] <= now - _LATELY_SECONDS:
            self._noted.popleft()

"""How the memory and the descriptors of a service's processes grow while it is under load."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.processes import memory_bytes, n_descriptors, repeated, with_children

_LOOK_SECONDS = 0.5

# A thread more than ever before has a connection to the database and two to redis.
MOST_DESCRIPTORS = 12
# What allocators keep, and caches that are not full yet. Over a few thousand requests it is a leak
# of some kilobytes each that no longer passes for these.
MOST_MEMORY_BYTES = 24 * 1024**2
# Redis tells of every end for a minute, and keeps long fits' tales for a day.
MOST_REDIS_BYTES_A_FIT = 2 * 1024


@dataclass(frozen=True)
class Sample:
    """One look at a process, `seconds` after the first one."""

    seconds: float
    memory_bytes: int
    descriptors: int


@dataclass(frozen=True)
class Growth:
    """Medians of a process in the first and in the last third of its time."""

    process: str
    memory_bytes: int
    memory_growth_bytes: int
    descriptors: int
    descriptors_growth: int

    def as_json(self) -> dict[str, Any]:
        """The figures that the report keeps."""
        return asdict(self)

    def faults(self, n_fits: int) -> list[str]:
        """What of it is not flat, where so many fits ended meanwhile."""
        kept = n_fits * MOST_REDIS_BYTES_A_FIT if self.process == "redis" else 0
        most_bytes = MOST_MEMORY_BYTES + kept
        found = []
        if self.memory_growth_bytes > most_bytes:
            found.append(
                f"{self.process}: its memory grew by {self.memory_growth_bytes:,} bytes; "
                f"{most_bytes:,} is the bound"
            )
        if self.descriptors_growth > MOST_DESCRIPTORS:
            found.append(
                f"{self.process}: its descriptors grew by {self.descriptors_growth}; "
                f"{MOST_DESCRIPTORS} is the bound"
            )
        return found


def growth(process: str, samples: Sequence[Sample]) -> Growth:
    """How far the last third of the samples lies above the first."""
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    memory = [int(statistics.median(s.memory_bytes for s in part)) for part in (first, last)]
    descriptors = [int(statistics.median(s.descriptors for s in part)) for part in (first, last)]
    return Growth(
        process=process,
        memory_bytes=memory[1],
        memory_growth_bytes=memory[1] - memory[0],
        descriptors=descriptors[1],
        descriptors_growth=descriptors[1] - descriptors[0],
    )


class Watch:
    """Looks at a process and all below it, again and again."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = time.monotonic()
        self._samples: defaultdict[int, list[Sample]] = defaultdict(list)
        self._names: dict[int, str] = {}
        self._n_looks = 0

    def look(self) -> None:
        """Look once more."""
        self._n_looks += 1
        seconds = time.monotonic() - self._began
        for pid in with_children([self._pid]):
            try:
                if pid not in self._names:
                    self._names[pid] = name_of(pid, self._names)
                sample = Sample(seconds, memory_bytes(pid), n_descriptors(pid))
            except (FileNotFoundError, ProcessLookupError, KeyError):
                # It has ended meanwhile; a zombie has no memory any more.
                continue
            self._samples[pid].append(sample)

    def growths(self) -> list[Growth]:
        """Of every process that was there all the time."""
        return [
            growth(self._names[pid], samples)
            for pid, samples in self._samples.items()
            if len(samples) == self._n_looks
        ]

    def faults(self) -> list[str]:
        """Processes that ended, or that came and stayed."""
        return come_and_gone(self._names, self._samples, self._n_looks)


def come_and_gone(
    names: Mapping[int, str], samples: Mapping[int, Sequence[Sample]], n_looks: int
) -> list[str]:
    """Which processes of the first look are not in every one, and which of the last are new.

    One that comes and goes in between, as an encoder of a film does, is none of them.
    """
    first = min(seen[0].seconds for seen in samples.values())
    last = max(seen[-1].seconds for seen in samples.values())
    found = []
    for pid, seen in samples.items():
        if len(seen) == n_looks:
            continue
        if seen[0].seconds == first:
            found.append(f"{names[pid]} (process {pid}) ended under the load")
        elif seen[-1].seconds == last and last - seen[0].seconds > 2 * _LOOK_SECONDS:
            found.append(f"{names[pid]} (process {pid}) came under the load and stayed")
    return found


def name_of(pid: int, names: Mapping[int, str]) -> str:
    """What part of the service a process is; `names` are its ancestors' and elders'."""
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    stat = Path(f"/proc/{pid}/stat").read_text()
    parent = names.get(int(stat.rpartition(")")[2].split()[1]), "")
    name = _own_name(arguments)
    if name and name != parent:
        return name
    same = sum(other.startswith(f"{parent}'s child") for other in names.values())
    return f"{parent}'s child {same + 1}"


def _own_name(arguments: Sequence[str]) -> str:
    if "service.cli" in arguments:
        return "launcher"
    if "gunicorn" in arguments:
        return "API"
    if "celery" in arguments:
        return (
            "quick worker" if "errands" in arguments[arguments.index("--queues") + 1] else "worker"
        )
    if any("redis-server" in argument for argument in arguments):
        return "redis"
    return ""


@contextmanager
def watched(pid: int) -> Iterator[Watch]:
    """Watch the process and all below it within the block."""
    watch = Watch(pid)
    watch.look()
    with repeated(watch.look, _LOOK_SECONDS):
        yield watch

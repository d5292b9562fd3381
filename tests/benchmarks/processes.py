"""What other processes take, as Linux tells."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def pids_of(word: str) -> list[int]:
    """The processes whose command line has the word in it."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in command.read_bytes():
                found.append(int(command.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            # It has ended meanwhile.
            continue
    return found


def with_children(pids: list[int]) -> list[int]:
    """The processes, and all below them."""
    found = list(pids)
    for pid in found:
        try:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            # It, or a thread of it, has ended meanwhile.
            continue
    return list(dict.fromkeys(found))


def n_descriptors(pid: int) -> int:
    """How many descriptors the process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def memory_bytes(pid: int, name: str = "VmRSS") -> int:
    """One of the memory figures of `/proc/PID/status`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


class Watch:
    """The most memory that each of some processes had, looked at again and again."""

    def __init__(self, pids: list[int]) -> None:
        self._before = {pid: memory_bytes(pid) for pid in pids}
        self._most = dict(self._before)

    @property
    def growth_bytes(self) -> int:
        """By how much the process that grew most has grown."""
        return max(self._most[pid] - before for pid, before in self._before.items())

    def look(self) -> None:
        """Look once more."""
        for pid, most in self._most.items():
            self._most[pid] = max(most, memory_bytes(pid))


@contextmanager
def watched(pids: list[int]) -> Iterator[Watch]:
    """Watch the processes' memory within the block."""
    watch = Watch(pids)
    with repeated(watch.look, 0.02):
        yield watch


@contextmanager
def repeated(act: Callable[[], None], pause_seconds: float) -> Iterator[None]:
    """Act again and again within the block, on a thread of its own."""
    stopped = threading.Event()

    def keep_acting() -> None:
        while not stopped.wait(pause_seconds):
            act()

    thread = threading.Thread(target=keep_acting)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()

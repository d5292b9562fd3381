"""Which processes a running service consists of, read from /proc."""

import os
from collections.abc import Iterator
from pathlib import Path

# The word in the command line of each of the launcher's own children.
_MARKS = {
    "redis": "redis-server",
    "worker": "fits.cpu,fits.small",
    "quick worker": "errands,fits.small",
    "API": "service.api.server",
}
# The children of those: who computes, and who answers.
_CHILDREN = {
    "worker's child": "worker",
    "quick worker's child": "quick worker",
    "API worker": "API",
}
ROLES = ("launcher", *_MARKS, *_CHILDREN)


def pids_of(launcher_pid: int, role: str) -> list[int]:
    """The processes that have the role below the launcher; none where they have ended."""
    if role == "launcher":
        return [launcher_pid] if is_alive(launcher_pid) else []
    if role in _MARKS:
        return [pid for pid in children_of(launcher_pid) if _MARKS[role] in command_of(pid)]
    parents = pids_of(launcher_pid, _CHILDREN[role])
    below = [pid for parent in parents for pid in children_of(parent)]
    return [pid for pid in below if "semaphore_tracker" not in command_of(pid)]


def children_of(parent_pid: int) -> list[int]:
    """The processes that this one started and that have not ended."""
    return [pid for pid in _running() if _state_of(pid)[1] == parent_pid]


def all_of(data_dir: Path) -> dict[int, str]:
    """Every process that works on the data directory: its id and its command line."""
    mark = f"THALWEG_DATA_DIR={data_dir.resolve()}".encode()
    found = {}
    for pid in _running():
        place = Path(f"/proc/{pid}")
        try:
            variables = (place / "environ").read_bytes().split(b"\0")
            # Redis writes its title over its environment, but works in the data directory.
            if mark in variables or (place / "cwd").readlink().is_relative_to(data_dir.resolve()):
                found[pid] = command_of(pid)
        except OSError:
            # It ended meanwhile.
            continue
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs or is stopped; a zombie is neither."""
    return _state_of(pid)[0] not in "ZX"


def command_of(pid: int) -> str:
    """Its command line; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def signal_all(pids: list[int], number: int) -> int:
    """Send the signal to those that still run; how many that were."""
    reached = 0
    for pid in pids:
        try:
            os.kill(pid, number)
            reached += 1
        except ProcessLookupError:
            continue
    return reached


def _running() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_alive(int(entry.name)):
            yield int(entry.name)


def _state_of(pid: int) -> tuple[str, int]:
    """The state's letter and the parent's id."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return "X", 0
    return state, int(parent)

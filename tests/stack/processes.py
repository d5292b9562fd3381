"""The processes of a service that was started by a test."""

from pathlib import Path


def computing_processes(launcher_pid: int) -> list[int]:
    """The worker's pool children: the processes below the launcher that loaded torch."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    below = [pid for pid in pids if launcher_pid in _ancestors(pid)]
    return [pid for pid in below if "libtorch" in Path(f"/proc/{pid}/maps").read_text()]


def _ancestors(pid: int) -> list[int]:
    """The parent, its parent, and so on; none where the process has ended meanwhile."""
    above = []
    while pid > 1:
        status = Path(f"/proc/{pid}/stat")
        if not status.exists():
            break
        pid = int(status.read_text().rpartition(")")[2].split()[1])
        above.append(pid)
    return above

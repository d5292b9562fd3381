"""How many processes the kernel has killed here for want of memory."""

import re
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_COUNTER = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def count_memory_kills(root: Path = _ROOT, membership: Path = _MEMBERSHIP) -> int:
    """Those in this process's control group so far; 0 where the kernel does not say.

    `root` is where control groups are mounted and `membership` the list of this process's own, both
    as cgroups(7) has them, in version 1 or 2.
    """
    for place in _counters(root, membership):
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

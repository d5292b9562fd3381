"""How much memory this process has held at once."""

import contextlib
import re
import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_FORGET_THE_PEAK = "5"
# getrusage counts kibibytes on Linux and bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def forget_peak() -> None:
    """Let the peak begin anew, where the system can: elsewhere it is the process's since its start.

    See proc(5), `/proc/pid/clear_refs`.
    """
    with contextlib.suppress(OSError):
        _CLEAR.write_text(_FORGET_THE_PEAK)


def peak_bytes() -> int:
    """The most resident memory since `forget_peak`, libraries and all."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), re.M)
    except OSError:
        found = None
    if found is not None:
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT

"""The processor that this runs on."""

import platform
from functools import cache
from pathlib import Path

_LINUX_TELLS = Path("/proc/cpuinfo")


@cache
def vendor() -> str:
    """Who made it, as it says itself: GenuineIntel, AuthenticAMD, …; else its architecture.

    MKL asks for this too, and takes other loops, with other bits, on another's processors.
    """
    if _LINUX_TELLS.exists():
        for line in _LINUX_TELLS.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "vendor_id":
                return value.strip()
    return platform.machine()

"""The processor that this runs on."""

import platform
from pathlib import Path

_CPU_FACTS = Path("/proc/cpuinfo")


def cpu_vendor(facts: Path = _CPU_FACTS) -> str:
    """GenuineIntel, AuthenticAMD, …, as Linux tells it; elsewhere the machine's architecture.

    MKL asks the processor for the same, and computes by other loops, with other bits, on those that
    are not Intel's.
    """
    if facts.exists():
        for line in facts.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "vendor_id":
                return value.strip()
    return platform.machine()

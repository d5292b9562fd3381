"""The processor's vendor, from what Linux tells."""

import platform
from pathlib import Path

import pytest

from workers.engine.processors import cpu_vendor

X86 = "processor\t: 0\nvendor_id\t: {}\ncpu family\t: 6\nmodel name\t: a : b\n\nprocessor\t: 1\n"


@pytest.mark.parametrize("vendor", ["GenuineIntel", "AuthenticAMD"])
def test_an_x86_names_its_vendor(tmp_path: Path, vendor: str) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text(X86.format(vendor))

    assert cpu_vendor(facts) == vendor


def test_others_are_known_by_their_architecture(tmp_path: Path) -> None:
    arm = tmp_path / "cpuinfo"
    arm.write_text("processor\t: 0\nCPU implementer\t: 0x41\n")

    assert cpu_vendor(arm) == cpu_vendor(tmp_path / "none") == platform.machine()

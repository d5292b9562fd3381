"""The demo, as `make demo` runs it."""

import subprocess
import sys
from pathlib import Path


def test_the_demo_shows_the_notebooks_weights_and_saves_its_pictures(tmp_path: Path) -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "service.cli", "demo", "--out-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert demo.returncode == 0, demo.stderr
    assert demo.stdout.count("3.455740275945") == 2, "the fitted weights and the closed form"
    assert demo.stdout.count("2.05443259593") == 2
    assert "7000/7000" in demo.stdout
    assert "/plots/loss.png" in demo.stdout
    for name in ("loss.png", "fit.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")

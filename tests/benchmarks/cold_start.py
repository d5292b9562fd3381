"""How long a process takes to have every kernel: compiled anew, and as it was kept."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parents[2]
# The import alone, torch's first of all, is no compiling.
_PROGRAM = """
import time
from workers import engine
began = time.perf_counter()
engine.warm_up()
print(time.perf_counter() - began)
"""


def measure() -> dict[str, float]:
    """Seconds of `engine.warm_up` in fresh processes, the first with an empty cache."""
    with tempfile.TemporaryDirectory(prefix="thalweg-") as directory:
        return {
            "compile_seconds": _warm_up_seconds(directory),
            "load_seconds": _warm_up_seconds(directory),
        }


def _warm_up_seconds(cache: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=_ROOT,
        env=os.environ | {"NUMBA_CACHE_DIR": cache},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)

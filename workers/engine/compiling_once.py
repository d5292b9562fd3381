"""One process of a machine compiles, and the others wait for what it kept."""

import fcntl
import hashlib
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.registry import cpu_target

_LOCK = "compiling.lock"


def compile_once(compile_all: Callable[[], None], directory: Path | None) -> None:
    """Call it; while it compiles for the first time into the directory, other processes wait.

    Several processes that start together would each take all cores' time for the same code. The
    kernel lets a lock go whose holder dies. Without a directory nothing is kept, nor waited for.
    """
    done = None if directory is None else directory / f"complete-{_kind()}"
    if directory is None or done is None or done.exists():
        compile_all()
        return
    with (directory / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        is_first = not done.exists()
        if is_first:
            compile_all()
            done.touch()
    if not is_first:
        compile_all()


def _kind() -> str:
    """What machine code depends on beside its sources, as numba has it."""
    processor: Any = cpu_target.target_context.codegen().magic_tuple()
    kind = f"{numba.__version__} {platform.python_version()} {processor}"
    return hashlib.sha256(kind.encode()).hexdigest()[:16]

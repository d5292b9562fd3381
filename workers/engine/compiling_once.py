"""Processes of a machine that start together share out what is to be compiled."""

import fcntl
import hashlib
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numba
from numba.core.registry import cpu_target


def compile_once(parts: Sequence[Callable[[], None]], directory: Path | None) -> None:
    """Call every part; each is compiled into the directory by one process, and loaded by others.

    Each part is compiled by one core: a second process compiles the next one meanwhile, and waits
    only for what others compile when there is nothing else left. The kernel lets a lock go whose
    holder dies. Without a directory nothing is kept, nor waited for.
    """
    left = list(enumerate(parts))
    if directory is not None:
        left = [part for part in left if not _compiled(directory, *part, wait=False)]
        left = [part for part in left if not _compiled(directory, *part, wait=True)]
    for _, load in left:
        load()


def _compiled(directory: Path, index: int, compile_all: Callable[[], None], *, wait: bool) -> bool:
    """Whether this process has compiled the part: neither is it kept, nor does another do it.

    With `wait` another one has done it, or has died, when this returns.
    """
    done = directory / f"complete-{_kind()}-{index}"
    if done.exists():
        return False
    with (directory / f"compiling-{index}.lock").open("w") as file:
        if not _has_locked(file, wait=wait) or done.exists():
            return False
        compile_all()
        done.touch()
        return True


def _has_locked(file: TextIO, *, wait: bool) -> bool:
    """Whether the file is locked by this process now: until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _kind() -> str:
    """What machine code depends on beside its sources, as numba has it."""
    processor: Any = cpu_target.target_context.codegen().magic_tuple()
    kind = f"{numba.__version__} {platform.python_version()} {processor}"
    return hashlib.sha256(kind.encode()).hexdigest()[:16]

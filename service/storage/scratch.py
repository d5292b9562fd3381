"""Directories for files that are being made."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A directory is locked at once by whoever makes it.
_UNLOCKED_SECONDS = 10.0
# Some disks know no locks.
_LONGEST_USE_SECONDS = 24 * 3600.0


class Scratch:
    """Below `root`: what a process that was killed has left is told from what is in use."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """An empty directory, gone at the end of the block; it holds files alone."""
        # By hand, because every inline dataset passes here: tempfile takes three times as long.
        directory = self._root / secrets.token_hex(8)
        try:
            directory.mkdir()
        except FileNotFoundError:
            directory.mkdir(parents=True)
        lock = _lock(directory)
        try:
            yield directory
        finally:
            for file in directory.iterdir():
                file.unlink()
            directory.rmdir()
            if lock is not None:
                os.close(lock)

    def forget(self, now: float) -> None:
        """Remove what is in nobody's use any more; `now` is in epoch seconds."""
        for directory in self._root.glob("*"):
            # It may be gone by now: its process ends, or another one sweeps as well.
            with suppress(FileNotFoundError):
                age_seconds = now - directory.stat().st_mtime
                if age_seconds > _LONGEST_USE_SECONDS:
                    shutil.rmtree(directory)
                elif age_seconds > _UNLOCKED_SECONDS:
                    _remove_unless_locked(directory)


def _lock(directory: Path) -> int | None:
    """A descriptor that holds the directory locked until it is closed, or its process dies.

    None where another one holds it, or the disk knows no locks.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_unless_locked(directory: Path) -> None:
    descriptor = _lock(directory)
    if descriptor is not None:
        try:
            shutil.rmtree(directory)
        finally:
            os.close(descriptor)

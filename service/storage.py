"""The object store: bytes under keys, written whole or not at all."""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from service.errors import Unavailable

_SCRATCH = ".scratch"
# A directory is locked at once by whoever makes it.
_UNLOCKED_SECONDS = 10.0
# Some disks know no locks.
_LONGEST_USE_SECONDS = 24 * 3600.0


class MissingObject(KeyError):
    """There is no object of this `key`."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class ObjectStore(Protocol):
    """What every store can do; keys are relative paths with `/`."""

    def put(self, key: str, content: bytes) -> None:
        """Write the whole object, durably, over any older one."""

    def put_file(self, key: str, path: Path) -> None:
        """Take the file, from a scratch directory of this store, as the whole object."""

    def get(self, key: str) -> bytes:
        """The object's bytes; MissingObject where there is none."""

    def local(self, key: str) -> AbstractContextManager[Path]:
        """A file with the object's bytes, to be read within the block; MissingObject."""

    def scratch(self) -> AbstractContextManager[Path]:
        """An empty directory for files that are being made; gone at the end of the block."""

    def delete(self, key: str) -> None:
        """Forget the object; nothing happens where there is none."""

    def delete_below(self, prefix: str) -> None:
        """Forget every object whose key begins with `prefix` and `/`."""

    def names_below(self, prefix: str) -> list[str]:
        """What comes in keys after `prefix` and `/`, up to the next `/`: each once, unordered."""

    def forget_scratch(self, now: float) -> None:
        """Remove what processes that were killed left in scratch; `now` is in epoch seconds."""

    def forget_below(self, prefix: str, before: float) -> None:
        """Forget what lies below the prefix since then, a directory at once."""

    def keys_below(self, prefix: str, before: float) -> Iterator[str]:
        """The keys that begin with `prefix` and `/` of objects written before that."""

    def check(self) -> None:
        """Raise Unavailable where nothing can be written."""


class LocalStore:
    """Objects as files below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, content: bytes) -> None:
        """Write beside the place, flush, then rename: readers see all of it or nothing."""
        with self.scratch() as scratch:
            path = scratch / "object"
            path.write_bytes(content)
            self.put_file(key, path)

    def put_file(self, key: str, path: Path) -> None:
        """Flush, then rename: readers see all of it or nothing."""
        place = self._place(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        _sync(path)
        path.replace(place)
        # Without this the new name itself can be lost with the power.
        _sync(place.parent)

    def get(self, key: str) -> bytes:
        """The object's bytes; MissingObject where there is none."""
        try:
            return self._place(key).read_bytes()
        except FileNotFoundError:
            raise MissingObject(key) from None

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """The object's own file; MissingObject where there is none."""
        place = self._place(key)
        if not place.exists():
            raise MissingObject(key)
        yield place

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory on the same disk as the objects, so that a rename moves a file in."""
        # By hand, because every inline dataset passes here: tempfile takes three times as long.
        directory = self._root / _SCRATCH / secrets.token_hex(8)
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

    def delete(self, key: str) -> None:
        """Forget the object; nothing happens where there is none."""
        self._place(key).unlink(missing_ok=True)

    def delete_below(self, prefix: str) -> None:
        """Forget every object whose key begins with `prefix` and `/`."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._place(prefix))

    def names_below(self, prefix: str) -> list[str]:
        """What comes in keys after `prefix` and `/`, up to the next `/`: each once, unordered."""
        try:
            return os.listdir(self._place(prefix))
        except FileNotFoundError:
            return []

    def forget_scratch(self, now: float) -> None:
        """Remove what processes that were killed left in scratch; `now` is in epoch seconds."""
        for directory in self._place(_SCRATCH).glob("*"):
            # It may be gone by now: its process ends, or another one sweeps as well.
            with contextlib.suppress(FileNotFoundError):
                age_seconds = now - directory.stat().st_mtime
                if age_seconds > _LONGEST_USE_SECONDS:
                    shutil.rmtree(directory)
                elif age_seconds > _UNLOCKED_SECONDS:
                    _remove_unless_locked(directory)

    def forget_below(self, prefix: str, before: float) -> None:
        """Forget what lies below the prefix since then, a directory at once."""
        for directory in self._place(prefix).glob("*"):
            # It may be gone by now: its process ends, or another one sweeps as well.
            with contextlib.suppress(FileNotFoundError):
                if directory.stat().st_mtime < before:
                    shutil.rmtree(directory)

    def keys_below(self, prefix: str, before: float) -> Iterator[str]:
        """The keys that begin with `prefix` and `/` of objects written before that."""
        for above, _, names in os.walk(self._place(prefix)):
            for name in names:
                path = Path(above, name)
                # Another sweeper may have been faster.
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        yield str(path.relative_to(self._root))

    def check(self) -> None:
        """Raise Unavailable where nothing can be written."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"the object store cannot be made: {error}") from error
        if not os.access(self._root, os.W_OK):
            raise Unavailable(f"the object store {self._root} is not writable")

    def _place(self, key: str) -> Path:
        place = (self._root / key).resolve()
        if not place.is_relative_to(self._root.resolve()):
            raise ValueError(f"{key!r} leads out of the object store")
        return place


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        shutil.rmtree(directory)
        os.close(descriptor)

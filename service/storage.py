"""The object store: bytes under keys, written whole or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from service.errors import Unavailable

_SCRATCH = ".scratch"


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

    def forget_scratch(self, before: float) -> None:
        """Remove what processes that were killed left in scratch; `before` is in epoch seconds."""

    def forget_below(self, prefix: str, before: float) -> None:
        """Forget what lies below the prefix since then, a directory at once."""

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
        try:
            yield directory
        finally:
            for file in directory.iterdir():
                file.unlink()
            directory.rmdir()

    def delete(self, key: str) -> None:
        """Forget the object; nothing happens where there is none."""
        self._place(key).unlink(missing_ok=True)

    def delete_below(self, prefix: str) -> None:
        """Forget every object whose key begins with `prefix` and `/`."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._place(prefix))

    def forget_scratch(self, before: float) -> None:
        """Remove what processes that were killed left in scratch; `before` is in epoch seconds."""
        self.forget_below(_SCRATCH, before)

    def forget_below(self, prefix: str, before: float) -> None:
        """Forget what lies below the prefix since then, a directory at once."""
        for directory in self._place(prefix).glob("*"):
            # It may be gone by now: its process ends, or another one sweeps as well.
            with contextlib.suppress(FileNotFoundError):
                if directory.stat().st_mtime < before:
                    shutil.rmtree(directory)

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

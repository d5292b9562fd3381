"""The object store: bytes under keys, written whole or not at all."""

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Protocol

from service.errors import Unavailable

_PARTIAL = ".partial-"


class ObjectStore(Protocol):
    """What every store can do; keys are relative paths with `/`."""

    def put(self, key: str, content: bytes) -> None:
        """Write the whole object, durably, over any older one."""

    def get(self, key: str) -> bytes:
        """The object's bytes; KeyError where there is none."""

    def delete(self, key: str) -> None:
        """Forget the object; nothing happens where there is none."""

    def delete_below(self, prefix: str) -> None:
        """Forget every object whose key begins with `prefix` and `/`."""

    def check(self) -> None:
        """Raise Unavailable where nothing can be written."""


class LocalStore:
    """Objects as files below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, content: bytes) -> None:
        """Write beside the place, flush, then rename: readers see all of it or nothing."""
        place = self._place(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(place)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_directory(place.parent)

    def get(self, key: str) -> bytes:
        """The object's bytes; KeyError where there is none."""
        try:
            return self._place(key).read_bytes()
        except FileNotFoundError:
            raise KeyError(key) from None

    def delete(self, key: str) -> None:
        """Forget the object; nothing happens where there is none."""
        self._place(key).unlink(missing_ok=True)

    def delete_below(self, prefix: str) -> None:
        """Forget every object whose key begins with `prefix` and `/`."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._place(prefix))

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


def _sync_directory(directory: Path) -> None:
    # Without this the new name itself can be lost with the power.
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

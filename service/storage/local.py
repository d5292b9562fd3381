"""Objects as files of this machine, or of a directory that machines share."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from service.errors import Unavailable
from service.storage.interface import MissingObject, checked
from service.storage.scratch import Scratch

_SCRATCH = ".scratch"
_CHECK_BYTES = 4096


class LocalStore:
    """Objects as files below one directory."""

    listing_seconds = 0.0

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scratch = Scratch(root / _SCRATCH)

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

    def scratch(self) -> AbstractContextManager[Path]:
        """A directory on the same disk as the objects, so that a rename moves a file in."""
        return self._scratch.directory()

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
        self._scratch.forget(now)

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
        """Raise Unavailable where nothing can be written: the disk may be full, or gone."""
        try:
            with self.scratch() as directory:
                (directory / "check").write_bytes(bytes(_CHECK_BYTES))
        except OSError as error:
            raise Unavailable(f"the object store cannot be written: {error}") from error

    def _place(self, key: str) -> Path:
        return self._root / checked(key)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

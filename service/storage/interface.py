"""What every object store can do."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import structlog

from service.errors import Unavailable

log = structlog.get_logger(__name__)


class MissingObject(KeyError):
    """There is no object of this `key`."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class ObjectStore(Protocol):
    """Objects under keys, which are relative paths with `/`.

    Whatever is asked raises Unavailable where a store that is not on this machine does not
    answer, OSError where the disk fails, and ValueError where a key leads out of the store.
    """

    @property
    def listing_seconds(self) -> float:
        """How long to wait at least between two lists of the same objects: some cost money."""

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
        """Forget what was written below the prefix before that, in epoch seconds."""

    def keys_below(self, prefix: str, before: float) -> Iterator[str]:
        """The keys that begin with `prefix` and `/` of objects written before that."""

    def check(self) -> None:
        """Raise Unavailable where nothing can be read or written."""


def checked(key: str) -> str:
    """The key or prefix; raises ValueError where it leads out of the store."""
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"{key!r} leads out of the object store")
    return key


def discard(delete: Callable[[str], None], what: str) -> None:
    """Have a store's `delete` or `delete_below` forget what no row names any more.

    Where the store fails it is left to the sweeper, for whoever asked has what they asked for.
    """
    try:
        delete(what)
    except (OSError, Unavailable) as error:
        log.warning("object_left_to_the_sweeper", what=what, error=repr(error))

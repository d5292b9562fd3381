"""A file mapped into memory, for formats that are read at random places."""

import mmap
from typing import BinaryIO


class MappedFile:
    """The file's bytes as `view`, which stay valid as long as anything refers to them.

    Raises ValueError where the file is empty.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.view = memoryview(self._map)

    def forget(self) -> None:
        """Let go of the pages read so far: they would count as this process's memory."""
        self._map.madvise(mmap.MADV_DONTNEED)

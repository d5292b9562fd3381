"""Gives a process a clock that can be turned: the file holds by how many seconds it is wrong.

Python imports this before anything else where its directory is on the path.
"""

import mmap
import os
import struct
import time

_SHIFT = struct.Struct("d")

_true = time.time
_descriptor = os.open(os.environ["TURNED_CLOCK"], os.O_RDONLY)
_shift = mmap.mmap(_descriptor, _SHIFT.size, access=mmap.ACCESS_READ)
os.close(_descriptor)


def _turned() -> float:
    return float(_true() + _SHIFT.unpack_from(_shift)[0])


time.time = _turned

"""The memory that one fit may take of this process."""

import errno
import time
from typing import Any

from workers.allocation import give_back
from workers.peak_memory import forget_peak, peak_bytes

# Often enough: what a fit keeps grows by steps, and what a step takes shows in the peak.
_LOOK_SECONDS = 0.05
# What torch says where it has no type for it, C++ included; Arrow, numpy and numba raise
# MemoryError.
_LACKS = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc")

_MEND = (
    "give a smaller batch_size, a smaller model, fewer rows, a larger record.every, or no "
    "record.weights and record.gradients"
)


class TooMuchMemory(MemoryError):
    """The fit has taken more than it may."""


class MemoryBound:
    """Looks now and then at how far the process's peak has grown since a fit began.

    Not a limit of the address space: what multiplies matrices waits for ever where that refuses
    it a buffer. None sets no bound.
    """

    def __init__(self, most_bytes: int | None) -> None:
        self._most_bytes = most_bytes
        self._bound = 0
        self._next = 0.0
        if most_bytes is not None:
            give_back()
            forget_peak()
            self._bound = peak_bytes() + most_bytes

    def look(self) -> None:
        """Raise TooMuchMemory past the bound; costs little however often it is called."""
        if self._most_bytes is None or time.monotonic() < self._next:
            return
        self.check()
        self._next = time.monotonic() + _LOOK_SECONDS

    def check(self) -> None:
        """Look now: at the end of what may have taken much, however short it was."""
        if self._most_bytes is not None and peak_bytes() > self._bound:
            raise TooMuchMemory


def lacks_memory(error: BaseException) -> bool:
    """Whether the error says that an allocation failed."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = isinstance(error, RuntimeError) and any(lack in str(error) for lack in _LACKS)
    return said or isinstance(error, MemoryError)


def explain_lack(most_bytes: int | None) -> dict[str, Any]:
    """The error of a fit that needed more memory than there was, with what to do."""
    if most_bytes is None:
        return {
            "code": "out_of_memory",
            "category": "server",
            "message": "the worker had no more memory to give",
            "hint": f"{_MEND}, or give the workers more memory",
        }
    limit = f"{most_bytes} bytes (THALWEG_MAX_FIT_BYTES)"
    return {
        "code": "out_of_memory",
        "category": "user",
        "message": f"the fit needed more memory than the limit of {limit}",
        "hint": _MEND,
    }

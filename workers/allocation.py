"""How much of what is freed a worker's process keeps for later."""

import ctypes

import pyarrow as pa

# For a process to be started with: all of its threads share one heap, where the C library is GNU's.
# With one each, what the steps of a fit have freed is kept in as many heaps as threads have made
# them: several times the memory that is in use at any time.
ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}


def give_back() -> None:
    """Return to the system what is free, as far as allocators can."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)

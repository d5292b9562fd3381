"""What a process of many threads does lest its memory grow with them."""

import ctypes

import pyarrow as pa

# In glibc's malloc.h.
_M_ARENA_MAX = -8
# As the interpreter runs one thread at a time, a second one is for the code that lets it go.
_ARENAS = 2


def share_heaps() -> None:
    """Let all threads of the process allocate from the same few heaps; before they start.

    glibc would give up to eight heaps a core to them, and Arrow one a thread: what one has freed
    the others do not use, so that the process doubles under load although nothing in it does.
    """
    libc = ctypes.CDLL(None)
    # Others than glibc have no such heaps.
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
    pa.set_memory_pool(pa.system_memory_pool())

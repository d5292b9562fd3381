"""How many threads torch may use, fixed by a fit's shape."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SMALL_WORK = 2**22
_THREADS_OF_LARGE_WORK = 4


def threads_for(work: int) -> int:
    """The threads for steps of `work` multiplications.

    The machine's cores are not asked: torch cuts its sums by threads, and the same fit must give
    the same bits everywhere. A small step on two threads was up to 20 times slower than on one.
    """
    return 1 if work < _SMALL_WORK else _THREADS_OF_LARGE_WORK


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """Let torch use so many threads within the block, and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)

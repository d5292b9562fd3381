"""How many threads a fit's parts may use."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

import scipy.linalg.cython_lapack  # noqa: F401 (compiled loops call it: `_blas` must see it)
import threadpoolctl
import torch

# From how many multiplications a step on so many threads is worth it.
_THREADS_FOR_WORK = {2**30: 4, 2**22: 2}


def threads_for(work: int) -> int:
    """The threads of torch for steps of `work` multiplications, fixed by a fit's shape.

    The machine's cores are not asked: torch cuts its sums by threads, and the same fit must give
    the same bits everywhere. A small step on two threads was up to 20 times slower than on one,
    and one of 2²⁷ multiplications three times slower on more threads than there were cores; one of
    2³⁰ does not mind.
    """
    return next((n for least, n in _THREADS_FOR_WORK.items() if work >= least), 1)


@contextmanager
def torch_threads(n_threads: int) -> Iterator[None]:
    """Let torch use so many threads within the block, and as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cores() -> int:
    """The cores that this process may run on: for work whose bits no number of threads changes."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _OneThread:
    """Holds libraries at one thread while anybody is within the block."""

    def __init__(self, libraries: threadpoolctl.ThreadpoolController) -> None:
        self._libraries = libraries.lib_controllers
        self._lock = Lock()
        self._n_users = 0
        self._before: list[int] = []

    def __enter__(self) -> None:
        with self._lock:
            self._n_users += 1
            if self._n_users == 1:
                self._before = [library.num_threads for library in self._libraries]
                self._set([1] * len(self._libraries))

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._set(self._before)

    def _set(self, numbers: list[int]) -> None:
        # Of OpenBLAS it lets the first thread that asks do this, and nobody else, without a word.
        threadpoolctl.OpenBLASController.clear_controlling_thread(force=True)
        for library, number in zip(self._libraries, numbers, strict=True):
            library.set_num_threads(number)


@cache
def one_blas_thread() -> _OneThread:
    """Let every product of matrices within the block be computed by the thread that asks for it.

    Its bits are then the same on any number of cores, and several threads may ask at once.
    """
    return _OneThread(_blas())


@cache
def hold_one_blas_thread() -> None:
    """Be within such a block for as long as the process lives.

    For one that does nothing but fit: to set the libraries' threads at the products of a small fit
    takes longer than to make these.
    """
    one_blas_thread().__enter__()


def blas_kind() -> str:
    """The kind of processor for which numpy and scipy compute: their bits follow from it."""
    return ", ".join(
        sorted({lib.get("architecture", lib["internal_api"]) for lib in _blas().info()})
    )


@cache
def _blas() -> threadpoolctl.ThreadpoolController:
    """The libraries of numpy and scipy; to look for them takes longer than a small fit."""
    return threadpoolctl.ThreadpoolController().select(user_api="blas")

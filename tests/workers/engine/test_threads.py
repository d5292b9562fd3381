"""Threads of the library that numpy computes with."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
import threadpoolctl

from workers.engine.threads import one_blas_thread

ROOT = Path(__file__).parents[3]
HOLD = """
from tests.workers.engine.test_threads import n_threads
from workers.engine import hold_one_blas_thread
from workers.engine.threads import one_blas_thread
hold_one_blas_thread()
hold_one_blas_thread()
with one_blas_thread():
    pass
assert n_threads() == {1}
"""


def n_threads() -> set[int]:
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return {library.num_threads for library in libraries.lib_controllers}


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        yield


def test_a_process_that_does_nothing_else_holds_one_for_as_long_as_it_lives() -> None:
    subprocess.run([sys.executable, "-c", HOLD], cwd=ROOT, check=True, timeout=120)


def in_another_thread(task: Callable[[], object]) -> None:
    other = Thread(target=task)
    other.start()
    other.join()


def test_the_last_one_who_needs_one_thread_gives_the_others_back() -> None:
    # given a block within another, and one of another thread
    with one_blas_thread():
        with one_blas_thread():
            assert n_threads() == {1}
        in_another_thread(one_blas_thread().__enter__)

    # then there is one thread until all of them are over
    assert n_threads() == {1}
    one_blas_thread().__exit__()
    assert n_threads() == {2}


def test_any_thread_may_be_the_first_who_needs_one_or_the_last() -> None:
    # The main one has asked for it before.
    with one_blas_thread():
        pass

    in_another_thread(one_blas_thread().__enter__)
    assert n_threads() == {1}

    in_another_thread(one_blas_thread().__exit__)
    assert n_threads() == {2}

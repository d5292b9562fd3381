"""Threads of the library that numpy computes with."""

from collections.abc import Callable
from threading import Thread

import threadpoolctl

from workers.engine.threads import one_blas_thread


def n_threads() -> set[int]:
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return {library.num_threads for library in libraries.lib_controllers}


def in_another_thread(task: Callable[[], object]) -> None:
    other = Thread(target=task)
    other.start()
    other.join()


def test_the_last_one_who_needs_one_thread_gives_the_others_back() -> None:
    before = n_threads()

    # given a block within another, and one of another thread
    with one_blas_thread():
        with one_blas_thread():
            assert n_threads() == {1}
        in_another_thread(one_blas_thread().__enter__)

    # then there is one thread until all of them are over
    assert n_threads() == {1}
    one_blas_thread().__exit__()
    assert n_threads() == before


def test_any_thread_may_be_the_first_who_needs_one_or_the_last() -> None:
    before = n_threads()
    # The main one has asked for it before.
    with one_blas_thread():
        pass

    in_another_thread(one_blas_thread().__enter__)
    assert n_threads() == {1}

    in_another_thread(one_blas_thread().__exit__)
    assert n_threads() == before

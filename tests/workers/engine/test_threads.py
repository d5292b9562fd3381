"""Threads of the library that numpy computes with."""

from threading import Thread

import threadpoolctl

from workers.engine.threads import one_blas_thread


def n_threads() -> set[int]:
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return {library.num_threads for library in libraries.lib_controllers}


def test_the_last_one_who_needs_one_thread_gives_the_others_back() -> None:
    before = n_threads()

    # given a block within another, and one of another thread
    with one_blas_thread():
        with one_blas_thread():
            assert n_threads() == {1}
        other = Thread(target=one_blas_thread().__enter__)
        other.start()
        other.join()

    # then there is one thread until all of them are over
    assert n_threads() == {1}
    one_blas_thread().__exit__()
    assert n_threads() == before

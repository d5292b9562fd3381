"""The processes of a Celery worker's pool, at every moment of its life."""

from types import SimpleNamespace

from workers.pool import pids, ready_pids


def worker(*children: tuple[int | None, int]) -> SimpleNamespace:
    """A worker whose children are pairs of a process id and a descriptor; 7 is ready."""
    pool = SimpleNamespace(
        _pool=[SimpleNamespace(pid=pid, inqW_fd=descriptor) for pid, descriptor in children],
        _all_inqueues={7},
    )
    return SimpleNamespace(pool=SimpleNamespace(_pool=pool))


def test_a_child_that_is_ready_is_one_of_those_started() -> None:
    assert pids(worker((11, 6), (12, 7))) == [11, 12]
    assert ready_pids(worker((11, 6), (12, 7))) == [12]


def test_a_child_that_is_only_being_started_has_no_id() -> None:
    assert pids(worker((11, 6), (None, 7))) == [11]
    assert ready_pids(worker((11, 6), (None, 7))) == []


def test_a_pool_that_was_stopped_has_no_children() -> None:
    stopped = SimpleNamespace(pool=SimpleNamespace(_pool=None))

    assert (pids(stopped), ready_pids(stopped)) == ([], [])

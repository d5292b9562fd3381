"""The processes of a Celery worker's pool, at every moment of its life."""

from types import SimpleNamespace
from typing import Any

from workers.pool import pids, ready_pids


class Stopping:
    """A pool that another thread stops once it has been looked at."""

    def __init__(self, pool: Any) -> None:
        self._pools = [pool]

    @property
    def _pool(self) -> Any:
        return self._pools.pop() if self._pools else None


def pool(*children: tuple[int | None, int]) -> SimpleNamespace:
    """A pool whose children are pairs of a process id and a descriptor; 7 is ready."""
    return SimpleNamespace(
        _pool=[SimpleNamespace(pid=pid, inqW_fd=descriptor) for pid, descriptor in children],
        _all_inqueues={7},
    )


def consumer(pool: Any) -> SimpleNamespace:
    return SimpleNamespace(pool=SimpleNamespace(_pool=pool))


def test_a_child_that_is_ready_is_one_of_those_started() -> None:
    of_two = consumer(pool((11, 6), (12, 7)))

    assert (pids(of_two), ready_pids(of_two)) == ([11, 12], [12])


def test_a_child_that_is_only_being_started_has_no_id() -> None:
    starting = consumer(pool((11, 6), (None, 7)))

    assert (pids(starting), ready_pids(starting)) == ([11], [])


def test_a_pool_that_was_stopped_has_no_children() -> None:
    assert (pids(consumer(None)), ready_pids(consumer(None))) == ([], [])


def test_a_pool_that_is_stopped_meanwhile_is_seen_as_it_was() -> None:
    for ids, seen in ((pids, [11, 12]), (ready_pids, [12])):
        stopping = SimpleNamespace(pool=Stopping(pool((11, 6), (12, 7))))

        assert ids(stopping) == seen
        assert ids(stopping) == []

"""The processes of a Celery worker's pool."""

from typing import Any


def pids(worker: Any) -> list[int]:
    """Those that have been started; none once the pool has been stopped."""
    return [child.pid for child in _started(worker)]


def ready_pids(worker: Any) -> list[int]:
    """Those of them that have said that they can compute: only then is there a way for work."""
    started = _started(worker)
    ways = worker.pool._pool._all_inqueues if started else ()
    return [child.pid for child in started if child.inqW_fd in ways]


def _started(worker: Any) -> list[Any]:
    # It is there before its first process and after its last one. A process is in its list a
    # moment before it has an id.
    pool = worker.pool._pool
    return [] if pool is None else [child for child in [*pool._pool] if child.pid is not None]

"""The processes of a Celery worker's pool."""

from typing import Any


def pids(consumer: Any) -> list[int]:
    """The ids of the processes that have been started; none once the pool has been stopped."""
    return [child.pid for child in _started(consumer.pool._pool)]


def ready_pids(consumer: Any) -> list[int]:
    """Those of them that have said that they can compute: only then is there a way for work."""
    # Read once: another thread may stop the pool meanwhile.
    pool = consumer.pool._pool
    return [child.pid for child in _started(pool) if child.inqW_fd in pool._all_inqueues]


def _started(pool: Any) -> list[Any]:
    # A process is in the list a moment before it has an id.
    return [] if pool is None else [child for child in [*pool._pool] if child.pid is not None]

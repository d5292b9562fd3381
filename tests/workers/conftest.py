"""The service's parts, for the workers' tests, and a worker for what requests wait for."""

import threading
from collections.abc import Iterator

import pytest
import redis

from service.context import Context
from tests.service.conftest import (
    context,
    new_database,
    postgresql,
    redis_url,
    settings,
    table,
)
from tests.service.messages import next_errand
from workers.errands import run_errand

__all__ = ["context", "postgresql", "redis_url", "settings", "table"]


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """SQLite; in modules that are marked so PostgreSQL too, for most ask the database little."""
    with new_database(request, getattr(request, "param", "sqlite")) as url:
        yield url


@pytest.fixture
def errand_worker(context: Context) -> Iterator[None]:
    """Do errands on a thread, as a worker's process does, until the test ends."""
    stopped = threading.Event()

    def work() -> None:
        with redis.Redis.from_url(context.settings.redis_address) as client:
            while not stopped.is_set():
                asked = next_errand(client, 0.1)
                if asked is not None:
                    run_errand(context, **asked)

    thread = threading.Thread(target=work, name="errand-worker")
    thread.start()
    yield
    stopped.set()
    thread.join()

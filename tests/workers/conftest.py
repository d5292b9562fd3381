"""The service's parts, for the workers' tests, and a worker for what requests wait for."""

import threading
from collections.abc import Iterator

import pytest
import redis

from service.context import Context
from tests.installations import EMBEDDED
from tests.service.conftest import (
    context,
    database_url,
    migrated_file,
    postgresql,
    redis_url,
    seaweedfs,
    settings,
    storage_url,
    table,
)
from tests.service.messages import next_errand
from workers.errands import run_errand

__all__ = [
    "context",
    "database_url",
    "migrated_file",
    "postgresql",
    "redis_url",
    "seaweedfs",
    "settings",
    "storage_url",
    "table",
]


@pytest.fixture
def installation(request: pytest.FixtureRequest) -> str:
    """The embedded one; in modules that are marked so each, for most depend on it little."""
    return str(getattr(request, "param", EMBEDDED))


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

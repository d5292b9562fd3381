"""One service with short leases, and the ends that its jobs have where nothing hurts it."""

import random
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.__main__ import ENVIRONMENT, small_disk
from tests.faults.campaign import undisturbed
from tests.faults.faults import Site
from tests.faults.jobs import BATCH, HOOKED, MEDIUM, SHORT
from tests.faults.running import Running, running
from tests.faults.traffic import Client
from tests.receiver import Receiver, receiving

JOBS = (*SHORT, MEDIUM[0], BATCH, HOOKED)
MAX_ATTEMPTS = 3


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """Where webhooks go."""
    with receiving() as started:
        yield started


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A service that can be hurt, on a small disk where this process may mount one."""
    environment = ENVIRONMENT | {"THALWEG_MAX_ATTEMPTS": str(MAX_ATTEMPTS)}
    with (
        tempfile.TemporaryDirectory(prefix="thalweg-") as directory,
        small_disk(Path(directory)) as (data_dir, is_small),
        running(data_dir, environment) as service,
    ):
        yield Site(service, random.Random(0), is_small)  # noqa: S311


@pytest.fixture
def service(site: Site) -> Iterator[Running]:
    """The service, whole again after each test."""
    yield site.service
    site.mend_all()


@pytest.fixture(scope="session")
def client(site: Site, receiver: Receiver) -> Client:
    """A client that comes again until it is answered."""
    return Client(site.service.url, receiver.url)


@dataclass(frozen=True)
class Watched:
    """A client that comes again until it is answered, and what it should be told."""

    client: Client
    receiver: Receiver
    expected: Mapping[str, dict[str, Any]]


@pytest.fixture(scope="session")
def watched(client: Client, receiver: Receiver) -> Watched:
    """The right ends by the jobs' names, from runs that nothing hurt."""
    return Watched(client, receiver, undisturbed(client, JOBS))

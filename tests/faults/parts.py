"""Parts of a production installation that go away and come back."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tests.postgresql import running_postgresql
from tests.proxy import Proxy, Way, proxy_to
from tests.seaweedfs import endpoint, running_seaweedfs


@dataclass(frozen=True)
class Part:
    """What a service needs, its name at /readyz, and how it goes away and comes back."""

    name: str
    leave: Callable[[], None]
    come_back: Callable[[], None]


@dataclass(frozen=True)
class Production:
    """A PostgreSQL and a bucket, their parts by what becomes of them, and a service's variables."""

    environment: dict[str, str]
    parts: dict[str, Part]


@contextmanager
def production() -> Iterator[Production]:
    """An empty installation, until the block's end."""
    with (
        running_postgresql() as postgresql,
        postgresql.database() as url,
        running_seaweedfs() as seaweedfs,
        proxy_to(seaweedfs.address) as proxy,
    ):
        environment = seaweedfs.environment | {
            "THALWEG_DATABASE_URL": url,
            "THALWEG_STORAGE_URL": seaweedfs.new_url(),
            "AWS_ENDPOINT_URL": endpoint(proxy.address),
        }
        crash = partial(postgresql.stop, signal.SIGQUIT)
        parts = {
            "PostgreSQL crashes": Part("database", crash, postgresql.start),
            "bucket closed": _bucket(proxy, Way.CLOSED),
            "bucket failing": _bucket(proxy, Way.FAILING),
            "bucket silent": _bucket(proxy, Way.SILENT),
        }
        yield Production(environment, parts)


def _bucket(proxy: Proxy, way: Way) -> Part:
    return Part("storage", partial(proxy.go, way), partial(proxy.go, Way.THROUGH))

"""The client of a service that a test stands in for; its pauses are not waited for."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from service.client.http import Service
from service.client.retrying import Patience
from tests.service.scripted import Answer, Scripted, scripted


def service_at(url: str, seconds: float = 30) -> Service:
    """The service there, with a patience of so many seconds."""
    return Service(url, None, partial(Patience, seconds, _say_nothing, _say_nothing))


def _say_nothing(_: object) -> None: ...


@contextmanager
def talking(
    path: str, answers: Answer | list[Answer], seconds: float = 30
) -> Iterator[tuple[Scripted, Service]]:
    """What gives these answers, and the client of it."""
    with scripted(**{path: answers}) as script, service_at(script.url, seconds) as service:
        yield script, service

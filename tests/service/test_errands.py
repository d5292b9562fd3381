"""What a request waits for: asked of a worker, and told by it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from service import errands
from service.context import Context, open_context
from service.errands import run_errand, told_of
from service.errors import (
    Conflict,
    Gone,
    InvalidInput,
    InvalidTable,
    NotFound,
    Place,
    ThalwegError,
    Unavailable,
    WorkerFailed,
)
from tests.service.messages import next_errand


@contextmanager
def told(context: Context, outcome: str, data: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """A worker that tells this of the next errand; what it was asked."""
    asked: list[dict[str, Any]] = []

    def work() -> None:
        with redis.Redis.from_url(context.settings.redis_address) as client:
            errand = next_errand(client, 5)
        assert errand is not None
        asked.append(errand)
        context.events.publish(errand["ticket"], outcome, data)

    thread = threading.Thread(target=work)
    thread.start()
    yield asked
    thread.join()


def test_what_a_worker_tells_is_the_answer(context: Context) -> None:
    with told(context, "done", {"n": 1}) as asked:
        found = run_errand(context, "predict", {"fit_id": "fit_1"})

    assert found == {"n": 1}
    assert (asked[0]["kind"], asked[0]["arguments"]) == ("predict", {"fit_id": "fit_1"})
    assert [*context.events.client.scan_iter(match="*errand_*")] == []


@pytest.mark.parametrize("kind", [InvalidInput, InvalidTable, NotFound, Gone, Conflict])
def test_what_a_worker_refuses_is_raised_as_it_was(
    context: Context, kind: type[ThalwegError]
) -> None:
    places = [Place("wrong", "why", pointer="/a"), Place("wrong", "why", row=1, column="x")]
    error = kind("why", places=places)

    with told(context, "refused", told_of(error)), pytest.raises(ThalwegError) as raised:
        run_errand(context, "predict", {})

    assert type(raised.value) is kind
    assert (raised.value.detail, [*raised.value.places]) == ("why", places)


def test_a_worker_that_crashed_is_told_without_its_insides(context: Context) -> None:
    with (
        told(context, "failed", {"detail": "the worker failed at: predict"}),
        pytest.raises(WorkerFailed, match="the worker failed at: predict"),
    ):
        run_errand(context, "predict", {})


def test_no_worker_in_time_is_unavailable(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "_DONE_WITHIN_SECONDS", 0.1)

    with pytest.raises(Unavailable, match="no worker had time"):
        run_errand(context, "predict", {})


def test_without_redis_no_worker_can_be_asked(context: Context) -> None:
    unheard = context.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})
    alone = open_context(unheard)

    with pytest.raises(Unavailable, match="redis does not answer"):
        run_errand(alone, "predict", {})

    alone.close()

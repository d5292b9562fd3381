"""What a request waits for: asked of a worker, and told by it."""

import inspect
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import redis

from service import errands
from service.callers import Caller
from service.context import Context, open_context
from service.errands import run_errand, told_of
from service.errors import (
    Conflict,
    Gone,
    NotFound,
    Place,
    Quota,
    QuotaExceeded,
    ThalwegError,
    Unavailable,
    WorkerFailed,
    WorkersBusy,
)
from service.places import Places
from service.reproduction import NotReproducible
from tests.installations import EMBEDDED_ALONE
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


# What the errors of the tree are made of; one that needs more has it here.
PARTS: dict[str, Any] = {
    "detail": "why",
    "places": [Place("wrong", "why", pointer="/a"), Place("wrong", "why", row=1, column="x")],
    "retry_after_seconds": 41,
    "quota": Quota("requests-to-workers", 16, 3, "concurrent-requests"),
}


def kinds(root: type[ThalwegError]) -> Iterator[type[ThalwegError]]:
    """It, and all below it in the tree."""
    yield root
    for below in root.__subclasses__():
        yield from kinds(below)


KINDS = [*kinds(ThalwegError)]


def said(error: ThalwegError) -> dict[str, Any]:
    """All that a client is told of it."""
    return vars(error) | {"retry_after_seconds": error.retry_after_seconds}


@EMBEDDED_ALONE
@pytest.mark.parametrize("whole", [True, False])
def test_whatever_a_worker_refuses_is_raised_as_it_was(context: Context, whole: bool) -> None:
    for kind in KINDS:
        # given an error with all that its kind can say, or with what it must
        asked = inspect.signature(kind).parameters.values()
        needed = [one.name for one in asked if whole or one.default is inspect.Parameter.empty]
        error = kind(**{name: PARTS[name] for name in needed})

        with told(context, "refused", told_of(error)), pytest.raises(ThalwegError) as raised:
            run_errand(context, "predict", {})

        assert type(raised.value) is kind
        assert said(raised.value) == said(error)


def test_every_error_has_a_code_of_its_own() -> None:
    """By it alone a worker says which one it met."""
    codes = [kind.code for kind in KINDS]

    # Those too that one module alone raises.
    assert NotReproducible.code in codes
    assert len(codes) == len(set(codes))


@EMBEDDED_ALONE
def test_a_refusal_of_a_newer_worker_is_told_in_its_words(context: Context) -> None:
    newer = told_of(Conflict("why")) | {"code": "not_known_here"}

    with told(context, "refused", newer), pytest.raises(ThalwegError, match="why"):
        run_errand(context, "predict", {})


@EMBEDDED_ALONE
def test_a_refusal_of_an_older_worker_is_raised_as_it_was(context: Context) -> None:
    older = {"code": "gone", "detail": "why", "places": []}

    with told(context, "refused", older), pytest.raises(Gone, match="why"):
        run_errand(context, "predict", {})


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


@pytest.fixture
def few_places(monkeypatch: pytest.MonkeyPatch) -> Places:
    """Eight places, two for each owner."""
    places = Places(8, "requests to workers", WorkersBusy)
    monkeypatch.setattr(errands, "_places", places)
    return places


def test_as_many_wait_for_workers_as_there_are_places(context: Context, few_places: Places) -> None:
    # given requests that wait, of one owner and of several
    ada, bob = (replace(context, caller=Caller(owner)) for owner in ("ada", "bob"))
    with ExitStack() as held:
        for owner in ("ada", "ada", "cy", "cy", "dan"):
            held.enter_context(few_places.taken(owner))

        # then that owner has no more places, and others have theirs
        with pytest.raises(QuotaExceeded) as refused:
            run_errand(ada, "predict", {})
        assert refused.value.retry_after_seconds
        with told(context, "done", {"n": 1}):
            assert run_errand(bob, "predict", {}) == {"n": 1}

        # until there are none
        for owner in ("dan", "eve", "eve"):
            held.enter_context(few_places.taken(owner))
        for caller in (bob, context):
            with pytest.raises(WorkersBusy, match="8 requests") as full:
                run_errand(caller, "predict", {})
            assert full.value.retry_after_seconds
    assert context.queue.undelivered("errands") == 0


def test_whatever_becomes_of_an_errand_its_place_is_free_again(
    context: Context, few_places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    for outcome in ("refused", "failed"):
        data = told_of(NotFound("why")) if outcome == "refused" else {"detail": "why"}
        with told(context, outcome, data), pytest.raises(ThalwegError):
            run_errand(context, "predict", {})
    monkeypatch.setattr(errands, "_DONE_WITHIN_SECONDS", 0.05)
    with pytest.raises(Unavailable):
        run_errand(context, "predict", {})

    with ExitStack() as held:
        for _ in range(few_places.n):
            held.enter_context(few_places.taken(None))

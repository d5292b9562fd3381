"""Errands: small work of a request's, done by a worker at once while the request waits."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from service.context import Context
from service.errors import (
    Place,
    Quota,
    QuotaExceeded,
    RateLimited,
    ThalwegError,
    Unavailable,
    WorkerFailed,
    WorkersBusy,
)
from service.ids import new_id
from service.places import Places
from service.queue import BROKER_ERRORS

# Each holds a thread: see `service.api.server`.
MOST_ERRANDS = 64

_DONE_WITHIN_SECONDS = 30.0
_places = Places(MOST_ERRANDS, "requests to workers", WorkersBusy)

# What a worker's outcome is called in the ticket's stream.
Outcome = Literal["done", "refused", "failed"]


def run_errand(context: Context, kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Have a worker do it; what it tells.

    Raises whichever of our errors the worker met, WorkerFailed where it crashed, Unavailable where
    no worker has done it in time, and WorkersBusy or QuotaExceeded where too many wait already.
    """
    with _places.taken(context.caller.owner):
        outcome, data = _awaited(context, kind, arguments)
    if outcome == "done":
        return data
    if outcome == "refused":
        raise _refusal(data)
    raise WorkerFailed(data["detail"])


def _awaited(
    context: Context, kind: str, arguments: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    ticket = new_id("errand")
    try:
        context.queue.errand(
            {
                "ticket": ticket,
                "kind": kind,
                "arguments": dict(arguments),
                "caller": dict(context.caller.named),
            }
        )
        told = context.events.first(ticket, seconds=_DONE_WITHIN_SECONDS)
        context.events.forget(ticket)
    except BROKER_ERRORS as error:
        raise Unavailable("redis does not answer, so that no worker can be asked") from error
    if told is None:
        raise Unavailable(f"no worker had time within {_DONE_WITHIN_SECONDS:.0f} s")
    return told


def told_of(error: ThalwegError) -> dict[str, Any]:
    """The error as a worker tells it: all that makes it anew."""
    told = {
        "code": error.code,
        "detail": error.detail,
        "places": [vars(place) for place in error.places],
        "retry_after_seconds": error.retry_after_seconds,
    }
    return told | ({"quota": vars(error.quota)} if isinstance(error, QuotaExceeded) else {})


def _refusal(told: Mapping[str, Any]) -> ThalwegError:
    # Of workers that are newer than this process there may be a code that it does not know.
    kind = {kind.code: kind for kind in _kinds(ThalwegError)}.get(told["code"], ThalwegError)
    places = [Place(**place) for place in told["places"]]
    # Older ones do not tell it.
    seconds = told.get("retry_after_seconds")
    if issubclass(kind, QuotaExceeded):
        if "quota" not in told:
            return RateLimited(told["detail"], retry_after_seconds=seconds)
        quota = Quota(**told["quota"])
        return kind(told["detail"], quota, places=places, retry_after_seconds=seconds)
    return kind(told["detail"], places=places, retry_after_seconds=seconds)


def _kinds(root: type[ThalwegError]) -> Iterator[type[ThalwegError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)

"""Answers about what takes a while: a job, or a batch of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import orjson
from flask import Response

from service.api.examples import EVENTS
from service.api.idempotency import once
from service.api.openapi import Content, Operation
from service.api.requests import context, preferred
from service.api.responses import json_response, no_content, resource
from service.api.streams import MEDIA_TYPE, event_stream, last_event_id
from service.api.waiting import draining, place_to_wait, preferred_wait_seconds
from service.context import Context
from service.events import Event
from service.following import END_ID
from service.idempotency import Ticket
from service.schemas.answers.jobs import EventList
from service.schemas.common import TERMINAL
from service.waiting import wait_until_ended

_LOOK_AGAIN_SECONDS = 1


class _SoFar(Protocol):
    def __call__(self, *, after: int) -> Sequence[Event]: ...


class _Follow(Protocol):
    def __call__(
        self, *, after: int, should_stop: Callable[[], bool]
    ) -> Iterator[Sequence[Event]]: ...


@dataclass(frozen=True)
class Awaited:
    """Those of one sort: `find` raises NotFound and Gone, `with_links` adds an answer's URLs."""

    find: Callable[[str], dict[str, Any]]
    with_links: Callable[[dict[str, Any]], dict[str, Any]]
    has_ended: Callable[[Context, str], bool]

    def submitted(self, submit: Callable[[Ticket | None], dict[str, Any]]) -> Response:
        """Queue one: 200 where it has ended within the time that the request waits, else 202."""

        def queue(ticket: Ticket | None) -> tuple[str, Response]:
            taken = submit(ticket)
            waited = self._wait(taken["id"])
            return taken["id"], self._taken(self.find(taken["id"]) if waited else taken, waited)

        return once(queue, again=lambda found_id: self._taken(self.find(found_id), {}))

    def shown(self, found_id: str) -> Response:
        """One, after its end where the request waits for that."""
        found = self.find(found_id)
        waited = {} if found["status"] in TERMINAL else self._wait(found_id)
        return resource(self.with_links(self.find(found_id) if waited else found), waited)

    def _taken(self, found: dict[str, Any], headers: dict[str, str]) -> Response:
        ended = found["status"] in TERMINAL
        if not ended:
            headers["Retry-After"] = str(_LOOK_AGAIN_SECONDS)
        body = self.with_links(found)
        headers["Location"] = body["urls"]["self"]
        return json_response(body, 200 if ended else 202, headers)

    def _wait(self, found_id: str) -> dict[str, str]:
        """Hold the answer as the request prefers; the header that says so."""
        seconds = preferred_wait_seconds()
        if seconds is None:
            return {}
        with place_to_wait() as has_place:
            if not has_place:
                # As RFC 7240 has it: who is answered at once looks again.
                return {}
            wait_until_ended(context(), found_id, seconds, draining, self.has_ended)
        return {"Preference-Applied": f"wait={seconds}"}


def events_operation(operation_id: str, tag: str, noun: str) -> Operation:
    """What an operation that tells events takes and answers."""
    return Operation(
        operation_id,
        tag,
        f"Follow a {noun}: its events as they come, or as JSON those so far",
        answers={
            200: (Content(MEDIA_TYPE, example=EVENTS), Content(model=EventList)),
            204: (),
        },
        headers={200: ("Cache-Control",)},
        problems=(404, 406, 410, 422, 503),
        resumes=True,
    )


def told(look: Callable[[], object], so_far: _SoFar, follow: _Follow) -> Response:
    """What happens, as it happens; as JSON what has happened so far.

    `look` raises NotFound and Gone, before there is an answer.
    """
    media_type = preferred(MEDIA_TYPE, "application/json")
    after = last_event_id()
    look()
    if media_type != MEDIA_TYPE:
        return _listed(so_far(after=after))
    if after >= END_ID:
        # The one answer after which no client comes again.
        return no_content()
    return event_stream(partial(follow, after=after))


def _listed(events: Sequence[Event]) -> Response:
    data = [
        {"id": event.id, "type": event.type, "data": orjson.Fragment(event.data)}
        for event in events
    ]
    answer = json_response({"object": "list", "data": data}, headers={"Cache-Control": "no-store"})
    answer.vary.add("Accept")
    return answer

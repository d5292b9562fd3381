"""`Idempotency-Key`: a request that comes again gets its first answer."""

import hashlib
import re
from collections.abc import Callable

from flask import Response, g, request

from service import idempotency
from service.api.bodies import IDEMPOTENCY_KEY
from service.api.requests import context, owner
from service.api.waiting import preferred_wait_seconds
from service.errors import InvalidInput, KeyInFlight, Place
from service.idempotency import Earlier, Ticket

REPLAYED = "Idempotent-Replayed"

# Beside what the request waits for: to queue, to read the result, to send it.
_ANSWERING_SECONDS = 15.0
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
# What belongs to one answer on its way, not to what is said.
_KEPT_HEADERS = ("Content-Type", "Location", "Retry-After", "Preference-Applied")


def once(
    make: Callable[[Ticket | None], tuple[str, Response]], again: Callable[[str], Response]
) -> Response:
    """The answer that `make` gives beside the id of what it made, or what it gave before.

    Called when the body has been read. `make` hands the ticket to the use case that makes the
    thing. `again` answers for a thing whose first answer was lost with the process that made it.
    """
    ticket = _ticket()
    if ticket is None:
        return make(None)[1]
    earlier = idempotency.find_earlier(context(), ticket)
    if earlier is None:
        try:
            made, answer = make(ticket)
        except KeyInFlight:
            # Another request was faster, and may even have been answered by now.
            earlier = idempotency.find_earlier(context(), ticket)
            if earlier is None:
                raise
        else:
            _keep(ticket, made, answer)
            return answer
    return _replayed(ticket, earlier, again)


def _ticket() -> Ticket | None:
    given = request.headers.get(IDEMPOTENCY_KEY)
    if given is None:
        return None
    # The draft standard's keys are quoted strings; most clients send them bare.
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if not _KEY.fullmatch(key):
        detail = f"the {IDEMPOTENCY_KEY} must be 1 to 255 visible ASCII characters"
        raise InvalidInput(detail, places=[Place("invalid_idempotency_key", detail)])
    named = f"{request.method} {request.full_path} {request.mimetype} {g.body_digest}"
    digest = "sha256:" + hashlib.sha256(named.encode()).hexdigest()
    seconds = _ANSWERING_SECONDS + (preferred_wait_seconds() or 0)
    return Ticket(owner(), key, digest, seconds)


def _replayed(ticket: Ticket, earlier: Earlier, again: Callable[[str], Response]) -> Response:
    if earlier.answer is None:
        answer = again(earlier.made)
        _keep(ticket, earlier.made, answer)
    else:
        status, headers, body = earlier.answer
        answer = Response(body, status, dict(headers))
    answer.headers[REPLAYED] = "true"
    return answer


def _keep(ticket: Ticket, made: str, answer: Response) -> None:
    headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
    kept = (answer.status_code, headers, answer.get_data())
    idempotency.keep_answer(context(), ticket, made, kept)

"""An answer of the service: taken, refused, or to be asked for once more."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from service.client.errors import Refused, Unreachable
from service.client.retrying import Later, retry_after

# Too many requests, and what fails at the service or on the way to it.
_PASSING = frozenset({429, 500, 502, 503, 504})
_IN_FLIGHT = "idempotency_key_in_flight"
_UNAUTHORIZED = 401


def judge(answer: httpx.Response) -> None:
    """Let a success pass; its body must have been read where it is none.

    Raises Refused and Unreachable, and Later around either where it may pass.
    """
    if answer.is_success:
        return
    problem = _problem(answer)
    error = _error(answer, problem)
    if answer.status_code in _PASSING or error.code == _IN_FLIGHT:
        raise Later(error, retry_after(answer.headers.get("Retry-After"), datetime.now(UTC)))
    raise error


def body_of(answer: httpx.Response) -> dict[str, Any]:
    """The object that a success says; raises Unreachable where it says none, as others do."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unreachable(f"what answers at {_origin(answer)} is no Thalweg: {_told(answer)}")
    return found


def _error(answer: httpx.Response, problem: Mapping[str, Any] | None) -> Refused | Unreachable:
    if problem is None:
        more = f", to {answer.headers['Location']}" if "Location" in answer.headers else ""
        return Unreachable(f"{_origin(answer)} answers {_told(answer)}{more}")
    code = problem.get("code")
    if answer.is_server_error:
        return Unreachable(f"{_told(answer)}: {problem['detail']}", code=code)
    lines = [*_lines(problem)]
    if answer.status_code == _UNAUTHORIZED:
        lines.append("give the key in THALWEG_KEY, or by --key")
    return Refused(*lines, code=code)


def _problem(answer: httpx.Response) -> Mapping[str, Any] | None:
    """The RFC 9457 object that the service says; None of what others say, like proxies."""
    try:
        found = answer.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("detail"), str) else None


def _lines(problem: Mapping[str, Any]) -> Iterator[str]:
    """What to mend, a line each; the whole first, unless it only repeats the first place."""
    places = problem.get("errors", [])
    if not places or places[0]["detail"] not in problem["detail"]:
        yield problem["detail"]
    for place in places:
        yield f"{_where(place)}{place['detail']}"


def _where(place: Mapping[str, Any]) -> str:
    row = f"row {place['row']}" if "row" in place else ""
    column = f"column {place['column']!r}" if "column" in place else ""
    named = ", ".join(part for part in (row, column, place.get("pointer")) if part)
    return f"{named}: " if named and not place["detail"].startswith(named) else ""


def _told(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.reason_phrase}".strip()


def _origin(answer: httpx.Response) -> str:
    url = answer.request.url
    return str(url.copy_with(path="/", query=None, username=None, password=None)).rstrip("/")

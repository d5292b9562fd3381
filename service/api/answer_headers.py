"""The headers of answers, as the OpenAPI document names them."""

from collections.abc import Mapping
from typing import Any

from service.api.idempotency import REPLAYED
from service.api.request_ids import HEADER as REQUEST_ID

RATE = ("RateLimit-Policy", "RateLimit")

# What those views say of an answer that is made by the function of `service.api.responses`.
RESOURCE = ("ETag", "Cache-Control")
ARTIFACT = (*RESOURCE, "Content-Disposition", "Accept-Ranges")
STREAMED = (*RESOURCE, "Content-Disposition")
DOWNLOAD = ("Cache-Control", "Content-Disposition")

_REF = "#/components/headers/{name}"
_NO_KEY = 401
_NO_SCOPE = 403
_IN_FLIGHT = 409
_NO_SUCH_PART = 416
_LATER = (429, 503)


def _header(description: str, example: Any, *, always: bool, **schema: Any) -> dict[str, Any]:
    """A header; `always` says whether no answer that names it is without it."""
    return {
        "description": description,
        "required": always,
        "schema": {"type": "string"} | schema,
        "example": example,
    }


HEADERS: Mapping[str, Mapping[str, Any]] = {
    REQUEST_ID: _header(
        "The request's id in the logs: the one that came with it, or one of the service's.",
        "01M8AJSNEPZ0G8VS6KV5E5V52C",
        always=True,
    ),
    "RateLimit-Policy": _header(
        "Where requests are limited: the owner's quota and its window in seconds.",
        '"requests";q=50;w=1',
        always=False,
    ),
    "RateLimit": _header(
        "What is left of it, and for how many seconds.", '"requests";r=49;t=1', always=False
    ),
    "Retry-After": _header(
        "Seconds after which to look or ask again.", 1, always=True, type="integer", minimum=0
    ),
    "WWW-Authenticate": _header("How a key is given.", "Bearer", always=True),
    "Location": _header(
        "Where the new resource is.",
        "http://127.0.0.1:8000/v1/fits/fit_01M8AJSNEPZ0G8VS6KV5E5V52C",
        always=True,
    ),
    "Preference-Applied": _header("The preference that was followed.", "wait=10", always=False),
    REPLAYED: _header("`true` where an earlier answer is given again.", "true", always=False),
    "Link": _header(
        "The next page (RFC 8288), where there is one.",
        '<http://127.0.0.1:8000/v1/fits?after=fit_01M8AJSNEPZ0G8VS6KV5E5V52C>; rel="next"',
        always=False,
    ),
    "ETag": _header(
        "The state's tag, for If-None-Match.", '"3f2f1f6f7c11b2a6e0f46f7e4f0c9a5f"', always=True
    ),
    "Cache-Control": _header("Who may keep the answer, for how long.", "private", always=True),
    "Content-Disposition": _header(
        "The name that suits a file of it.", 'inline; filename="loss.png"', always=True
    ),
    "Accept-Ranges": _header(
        "That parts can be asked for; not of a compressed answer.", "bytes", always=False
    ),
    "Content-Range": _header(
        "Which part this is, and of how many bytes.", "bytes 0-99/1234", always=True
    ),
}


def described_headers(names: tuple[str, ...]) -> dict[str, Any]:
    """What the document says of an answer with these headers, and the one that all have."""
    return {name: {"$ref": _REF.format(name=name)} for name in (REQUEST_ID, *names)}


def of_success(
    status: int, own: Mapping[int, tuple[str, ...]], *, creates: bool, public: bool
) -> tuple[str, ...]:
    """The headers of an answer that is no problem; `own` are those that its view says it has.

    What is not new, and a part, have those of the whole.
    """
    named = own.get(status, ())
    if status in (206, 304):
        named = own.get(200, ())
    part = ("Content-Range",) if status == 206 else ()  # noqa: PLR2004
    return (*named, *part, *((REPLAYED,) if creates else ()), *(() if public else RATE))


def of_problem(status: int, *, creates: bool, public: bool) -> tuple[str, ...]:
    """The headers of an answer that is a problem."""
    named: tuple[str, ...] = ()
    if status == _NO_KEY:
        named = ("WWW-Authenticate",)
    elif status == _NO_SUCH_PART:
        named = ("Content-Range",)
    elif status in _LATER or (creates and status == _IN_FLIGHT):
        named = ("Retry-After",)
    # Whoever may not ask at all has spent nothing.
    unspent = public or status in (_NO_KEY, _NO_SCOPE)
    return named if unspent else (*named, *RATE)

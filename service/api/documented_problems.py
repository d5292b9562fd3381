"""Problems as the OpenAPI document shows them: an answer of each status, with an example."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from service import errors
from service.api.answer_headers import described_headers, of_problem
from service.api.problems import MEDIA_TYPE, name_of_http, problem_body, see_log, status_of
from service.errors import Place, ThalwegError
from service.schemas.answers.problems import Problem

_INSTANCE = "/v1/fits"
_REQUEST_ID = "01M8AJSNEPZ0G8VS6KV5E5V52C"
_FIT = "fit_01M8AJSNEPZ0G8VS6KV5E5V52C"
_NO_NUMBER = Place("float_type", "Input should be a valid number", pointer="/optimizer/lr")
_IN_FLIGHT = "InFlight"
_NO_SUCH_PART = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE


@dataclass(frozen=True)
class _Shown:
    """An answer that operations share: its name, what it is, and the body of one."""

    name: str
    status: int
    description: str
    example: dict[str, Any]

    def answer(self, *, public: bool = False) -> dict[str, Any]:
        """The answer as the document has it; a public one knows no limit of requests."""
        creates = self.name.startswith(_IN_FLIGHT)
        headers = of_problem(self.status, creates=creates, public=public)
        content = {
            "schema": {"$ref": f"#/components/schemas/{Problem.__name__}"},
            "examples": {"answer": {"$ref": f"#/components/examples/{self.name}"}},
        }
        return {
            "description": self.description,
            "headers": described_headers(headers),
            "content": {MEDIA_TYPE: content},
        }


def _shown(error: ThalwegError, description: str, prefix: str = Problem.__name__) -> _Shown:
    status = status_of(type(error))
    example = _body(status, error.code, error.title, error.detail, error.places)
    return _Shown(f"{prefix}{status}", status, description, example)


def _body(
    status: int, code: str, title: str, detail: str, places: Sequence[Place] = ()
) -> dict[str, Any]:
    return problem_body(
        status, code, title, detail, places, instance=_INSTANCE, request_id=_REQUEST_ID
    )


# Of each status what most clients meet first.
_SHOWN = (
    _shown(errors.Malformed("the body is no JSON"), "The body is not what its type says."),
    _shown(
        errors.Unauthorized("a key is needed: Authorization: Bearer <key>"),
        "No key, or none that holds.",
    ),
    _shown(
        errors.Forbidden("this needs a key of scope 'write'; this one has read"),
        "The key lacks a scope.",
    ),
    _shown(errors.NotFound(f"there is no fit '{_FIT}'"), "No such thing, or another owner's."),
    _shown(
        errors.NotAcceptable("the answer comes as application/json, text/csv"),
        "No acceptable form.",
    ),
    _shown(errors.Conflict(f"the fit {_FIT} has ended already"), "Not in its present state."),
    _shown(
        errors.KeyInFlight("the first request with this Idempotency-Key is still being answered"),
        "The first request with this `Idempotency-Key` is still being answered.",
        prefix=_IN_FLIGHT,
    ),
    _shown(errors.Gone(f"the fit {_FIT} has been deleted or has expired"), "It is gone."),
    _shown(errors.TooLarge("the body is past 67108864 bytes"), "The body is too large."),
    _shown(
        errors.UnsupportedMediaType("the Content-Type is 'text/html'; accepted: application/json"),
        "Not this content type.",
    ),
    _Shown(
        f"{Problem.__name__}{_NO_SUCH_PART.value}",
        _NO_SUCH_PART,
        "No such part.",
        _body(
            _NO_SUCH_PART.value,
            name_of_http(_NO_SUCH_PART.phrase),
            _NO_SUCH_PART.phrase,
            "The server cannot provide the requested range.",
        ),
    ),
    _shown(
        errors.InvalidInput("optimizer.lr is no number", places=[_NO_NUMBER]),
        "It means nothing here; `errors` says what to mend.",
    ),
    _shown(
        errors.RateLimited("more than 50/second requests"),
        "Too many requests, or too much of something; `Retry-After` says when to come again.",
    ),
    _shown(
        ThalwegError(see_log(_REQUEST_ID)),
        "The service failed.",
    ),
    _shown(
        errors.Unavailable("the database does not answer"),
        "There is no room, or a part of the service does not answer; `Retry-After` says when to "
        "come again.",
    ),
)
_BY_NAME = {shown.name: shown for shown in _SHOWN}


def problem_examples() -> dict[str, Any]:
    """The bodies that `problem_answers` shows, by their names."""
    return {shown.name: {"value": shown.example} for shown in _SHOWN}


def problem_answers() -> dict[str, Any]:
    """The answers that `problem_answer` refers to, by their names."""
    return {shown.name: shown.answer() for shown in _SHOWN}


def problem_answer(status: int, *, creates: bool, public: bool) -> dict[str, Any]:
    """An operation's answer of this status."""
    in_flight = f"{_IN_FLIGHT}{status}"
    name = in_flight if creates and in_flight in _BY_NAME else f"{Problem.__name__}{status}"
    return (
        _BY_NAME[name].answer(public=True) if public else {"$ref": f"#/components/responses/{name}"}
    )

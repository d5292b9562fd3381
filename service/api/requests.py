"""What a view reads of its request."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from flask import Request, current_app, g, request
from pydantic import BaseModel

from service.api.bodies import Body
from service.api.validation import parse_json
from service.callers import Caller
from service.context import Context
from service.errors import InvalidInput, NotAcceptable, Place, Unauthorized, UnsupportedMediaType
from service.keys import OPEN_OWNER, Principal

Model = TypeVar("Model", bound=BaseModel)

# As W3C's Trace Context has it: version ff and ids of zeros alone are none.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def opened_context() -> Context:
    """The parts of the service that this app works with."""
    opened: Context = current_app.extensions["thalweg"]
    return opened


@dataclass(frozen=True)
class _Admitted:
    principal: Principal
    context: Context
    key_holds: Callable[[], bool]


def admit(principal: Principal, key_holds: Callable[[], bool]) -> Context:
    """Note who asks; the parts of the service, bounded by what their key may have.

    `key_holds` says later whether they still may.
    """
    opened = opened_context()
    bounded = replace(
        opened,
        settings=principal.limits.applied_to(opened.settings),
        caller=Caller(
            None if principal.owner == OPEN_OWNER else principal.owner,
            g.request_id,
            traceparent(),
        ),
    )
    g.admitted = _Admitted(principal, bounded, key_holds)
    return bounded


def context() -> Context:
    """The parts of the service, bounded by what the request's key may have."""
    return _admitted().context


def principal() -> Principal:
    """Who asks, and what they may do; raises Unauthorized where nobody was admitted."""
    return _admitted().principal


def owner() -> str:
    """Who asks."""
    return principal().owner


def key_holds() -> Callable[[], bool]:
    """What says, after the request too, whether its key still holds."""
    return _admitted().key_holds


def traceparent() -> str | None:
    """The client's trace (W3C), for the logs; None where it is none."""
    given = request.headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) else None


def _admitted() -> _Admitted:
    found: _Admitted | None = g.get("admitted")
    if found is None:
        raise Unauthorized("a key is needed: Authorization: Bearer <key>")
    return found


def refuse_other_types(*accepted: str) -> None:
    """Raise UnsupportedMediaType where the body is of none of these types."""
    if request.mimetype not in accepted:
        named = ", ".join(accepted)
        got = request.mimetype or "none"
        raise UnsupportedMediaType(f"the Content-Type is {got!r}; accepted: {named}")


def json_body(model: type[Model]) -> Model:
    """The JSON body as the model."""
    refuse_other_types("application/json")
    return parse_json(model, Body(context().settings.max_json_bytes).read_all())


def preferred(*media_types: str) -> str:
    """The one that the client likes best, the first where it does not care.

    Raises NotAcceptable where it likes none.
    """
    if not request.accept_mimetypes:
        return media_types[0]
    best = request.accept_mimetypes.best_match(media_types)
    if best is None:
        raise NotAcceptable(f"the answer comes as {', '.join(media_types)}")
    return best


def query_arguments(of: Request) -> dict[str, str]:
    """The query parameters; raises InvalidInput where one stands twice."""
    for name, values in of.args.lists():
        if len(values) > 1:
            detail = f"the query parameter {name!r} stands more than once"
            raise InvalidInput(detail, places=[Place("repeated_parameter", detail)])
    return of.args.to_dict()

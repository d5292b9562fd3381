"""How drawn requests are sent: bytes as they are, long work cut short, and no stream followed."""

from typing import Any

import schemathesis

from service.tables.reading import READERS

_MOST_SEARCHED = 20


@schemathesis.serializer(*(name for name in READERS if name != "text/csv"))
def as_bytes(_: Any, value: Any) -> bytes:
    """The drawn text or bytes, unchanged."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_call(_: Any, case: Any, kwargs: Any) -> None:
    """Cut short what takes long."""
    if case.operation.path.endswith("/events") and "Accept" not in (case.headers or {}):
        # A stream lasts as long as its fit.
        case.headers = {**(case.headers or {}), "Accept": "application/json"}
    if case.operation.path == "/v1/lr-range-tests":
        _shorten_range_test(case)


def _shorten_range_test(case: Any) -> None:
    """At small rates each LBFGS step of a range test searches for as long as it may: seconds."""
    body = case.body
    if not isinstance(body, dict):
        return
    shorter: dict[str, Any] = {}
    if body.get("limits", {"max_seconds": 3600}) == {"max_seconds": 3600}:
        shorter["limits"] = {"max_seconds": 1}
    optimizer = body.get("optimizer")
    if isinstance(optimizer, dict) and _is_long(optimizer.get("max_iter")):
        shorter["optimizer"] = optimizer | {"max_iter": _MOST_SEARCHED}
    if shorter:
        case.body = body | shorter


def _is_long(max_iter: Any) -> bool:
    return type(max_iter) is int and _MOST_SEARCHED < max_iter <= 10_000

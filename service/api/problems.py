"""Errors as RFC 9457 problem+json; the one place that knows status numbers."""

import errno
from collections.abc import Sequence
from typing import Any

import orjson
import structlog
from flask import Flask, Response, g, request
from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestedRangeNotSatisfiable,
    RequestEntityTooLarge,
)
from werkzeug.http import HTTP_STATUS_CODES

from service import errors
from service.api.links import base_url
from service.database import DatabaseError
from service.errors import Place, ThalwegError

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
# The most special class of an error's ancestors decides.
STATUS: dict[type[ThalwegError], int] = {
    errors.InvalidInput: 422,
    errors.Malformed: 400,
    errors.UnsupportedMediaType: 415,
    errors.TooLarge: 413,
    errors.NotAcceptable: 406,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.RateLimited: 429,
    errors.NotFound: 404,
    errors.Gone: 410,
    errors.Conflict: 409,
    errors.QueueFull: 503,
    errors.Unavailable: 503,
    ThalwegError: 500,
}


# What gunicorn refuses before the app sees it; all else that it cannot read is 400.
_UNREAD: dict[type[Exception], int] = {
    LimitRequestLine: 414,
    ExpectationFailed: 417,
    LimitRequestHeaders: 431,
    UnsupportedTransferCoding: 501,
}


def status_of(kind: type[ThalwegError]) -> int:
    """The status number of an error."""
    return next(STATUS[parent] for parent in kind.__mro__ if parent in STATUS)


def install(app: Flask) -> None:
    """Answer every error of the app as a problem."""
    app.register_error_handler(ThalwegError, _of_ours)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(DatabaseError, _of_the_database)
    app.register_error_handler(OSError, _of_the_disk)
    app.register_error_handler(Exception, _of_a_crash)


def _of_ours(error: ThalwegError) -> Response:
    status = status_of(type(error))
    if status >= 500:  # noqa: PLR2004
        log.warning("refused", code=error.code, detail=error.detail)
    answer = _problem(status, error.code, error.title, error.detail, error.places)
    if isinstance(error, errors.Unauthorized):
        answer.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.QuotaExceeded):
        # Told beside the rate that applies: see `service.api.access`.
        g.exhausted = error.quota
    return answer


def _of_http(error: HTTPException) -> Response:
    """What flask itself refuses: unknown paths, methods, bodies that are too large."""
    status = error.code or 500
    if isinstance(error, RequestEntityTooLarge):
        limit = request.max_content_length
        return _of_ours(errors.TooLarge(f"the body is past {limit} bytes"))
    title, detail = error.name, error.description or error.name
    allowed = None
    if isinstance(error, NotFound):
        detail = f"there is nothing at {request.path}; {base_url()}/docs lists every operation"
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        allowed = ", ".join(sorted(error.valid_methods))
        detail = f"{request.method} is not for {request.path}; allowed: {allowed}"
    answer = _problem(status, name_of_http(title), title, detail)
    if allowed is not None:
        answer.headers["Allow"] = allowed
    if isinstance(error, RequestedRangeNotSatisfiable):
        answer.headers["Content-Range"] = f"{error.units} */{error.length}"
    return answer


def name_of_http(title: str) -> str:
    """The code of what flask itself refuses, by its title."""
    return title.lower().replace(" ", "_")


def _of_the_database(error: DatabaseError) -> Response:
    """The log has the reason; the client may come again."""
    log.error("database_failed", exc_info=error)
    return _of_ours(errors.Unavailable("the database does not answer"))


def _of_the_disk(error: OSError) -> Response:
    """A full disk is mended by others, and soon; everything else is a crash."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return _of_a_crash(error)
    log.error("disk_full", exc_info=error)
    return _of_ours(errors.Unavailable("there is no room to store this"))


def _of_a_crash(error: Exception) -> Response:
    """The outermost edge: the log has the whole error, the client only the request's id."""
    log.exception("request_crashed")
    return _problem(500, ThalwegError.code, ThalwegError.title, see_log(g.request_id))


def problem_of_gunicorn(error: Exception, path: str, request_id: str) -> tuple[int, str, bytes]:
    """What gunicorn answers itself: the status, its name, and the body."""
    if _is_clients(error):
        status = next((_UNREAD[kind] for kind in type(error).__mro__ if kind in _UNREAD), 400)
        title = HTTP_STATUS_CODES[status]
        code, detail = name_of_http(title), str(error)
    else:
        status, title = 500, ThalwegError.title
        code, detail = ThalwegError.code, see_log(request_id)
    body = problem_body(status, code, title, detail, (), instance=path, request_id=request_id)
    return status, HTTP_STATUS_CODES[status], orjson.dumps(body)


def _is_clients(error: Exception) -> bool:
    """Whether the request was at fault; gunicorn's errors of answers stand below the same ones."""
    ours = (InvalidResponseHeader, InvalidResponseHeaderName)
    return isinstance(error, ParseException) and not isinstance(error, ours)


def _problem(
    status: int, code: str, title: str, detail: str, places: tuple[Place, ...] = ()
) -> Response:
    body = problem_body(
        status, code, title, detail, places, instance=request.path, request_id=g.request_id
    )
    return Response(orjson.dumps(body), status, content_type=MEDIA_TYPE)


def problem_body(
    status: int,
    code: str,
    title: str,
    detail: str,
    places: Sequence[Place],
    *,
    instance: str,
    request_id: str,
) -> dict[str, Any]:
    """A problem of the request to this path."""
    body: dict[str, Any] = {
        "type": f"urn:thalweg:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": request_id,
    }
    if places:
        body["errors"] = [_place(place) for place in places]
    return body


def see_log(request_id: str) -> str:
    """What a client is told of a crash."""
    return f"the service failed; its log says why under the request id {request_id}"


def _place(place: Place) -> dict[str, Any]:
    where = {"pointer": place.pointer, "row": place.row, "column": place.column}
    shown = {name: value for name, value in where.items() if value is not None}
    return {**shown, "code": place.code, "detail": place.detail}

"""Gunicorn's worker, whose own refusals are problems like all others."""

from typing import Any

import structlog
from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

from service.api.problems import MEDIA_TYPE, problem_of_gunicorn
from service.api.request_ids import HEADER, request_id

log = structlog.get_logger(__name__)

_SERVER_ERRORS = 500


class ProblemWorker(ThreadWorker):  # type: ignore[misc]  # Of Any.
    """Threads that answer one request each."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a request that never came to the app, or that the app left unanswered.

        `req` is None where it could not be read. Gunicorn closes the connection after it.
        """
        # Some errors have the request with them, as far as it was read.
        read = req or getattr(exc, "req", None)
        named = request_id(dict(getattr(read, "headers", ())).get(HEADER.upper()))
        # Where no path was read, a reference without one is to what was asked for.
        path = getattr(read, "path", None) or ""
        status, title, body = problem_of_gunicorn(exc, path, named)
        told = {"status": status, "path": path, "request_id": named}
        if status < _SERVER_ERRORS:
            log.warning("request_unread", detail=str(exc), **told)
        else:
            log.error("request_crashed", exc_info=exc, **told)
        _send(client, f"{status} {title}", named, body)


def _send(client: Any, status: str, named: str, body: bytes) -> None:
    head = (
        f"HTTP/1.1 {status}",
        f"Date: {util.http_date()}",
        "Connection: close",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        f"{HEADER}: {named}",
    )
    try:
        util.write_nonblock(client, "\r\n".join((*head, "", "")).encode() + body)
    except OSError as error:
        log.info("answer_unread", error=str(error), request_id=named)

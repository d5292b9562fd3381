"""Whether a client's connection can be used again after an answer."""

import threading
from typing import Any

from flask import Response, request

# Gunicorn reads so much of a body that the app has left, and hangs up where there is more.
_READ_UP_BYTES = 64 * 1024

_thread = threading.local()


def begin_request(served: Any) -> None:
    """Note gunicorn's request that this thread is about to answer."""
    _thread.served = served


def announce_close(answer: Response) -> Response:
    """Say where the connection ends with this answer, lest the client's next request get none.

    It does where a large body was refused, which may not have been read to its end.
    """
    served = getattr(_thread, "served", None)
    refused = answer.status_code >= 400  # noqa: PLR2004
    if served is not None and refused and _is_large():
        served.force_close()
    return answer


def _is_large() -> bool:
    length = request.content_length
    return "Transfer-Encoding" in request.headers if length is None else length > _READ_UP_BYTES

"""`/metrics`."""

import time
from http import HTTPMethod

from flask import Blueprint, Flask, Response, current_app, g, request

from service.api.examples import METRICS
from service.api.openapi import Content, Operation, operation, operation_of
from service.api.requests import context
from service.metrics import MEDIA_TYPE, REQUEST_SECONDS, REQUESTS, exposition

blueprint = Blueprint("metrics", __name__)

_OTHER = "other"
_METHODS = frozenset(HTTPMethod)


@blueprint.get("/metrics")
@operation(
    Operation(
        "metrics",
        "operations",
        "Counters and times in Prometheus' text format",
        answers={200: (Content("text/plain", example=METRICS),)},
        scope="admin",
    )
)
def metrics() -> Response:
    """What Prometheus scrapes."""
    content = exposition(context().database, time.time())
    return Response(content, content_type=MEDIA_TYPE)


def install(app: Flask) -> None:
    """Count every request of the app."""
    app.after_request(_count)


def _count(answer: Response) -> Response:
    view = current_app.view_functions.get(request.endpoint or "")
    described = operation_of(view) if view else None
    name = described.operation_id if described else _OTHER
    # A client may write any word there: each would be a series of its own.
    method = request.method if request.method in _METHODS else _OTHER
    REQUESTS.labels(method, name, str(answer.status_code)).inc()
    REQUEST_SECONDS.labels(name).observe(time.perf_counter() - g.began)
    return answer

"""The app factory."""

import atexit
import time
from http import HTTPStatus

import structlog
from flask import Flask, Response, current_app, g, request

from service.api import (
    access,
    artifacts,
    batches,
    checks,
    compression,
    connections,
    datasets,
    documentation,
    fits,
    gradients,
    lr_range_tests,
    metrics,
    operations,
    plots,
    predictions,
    problems,
    rehearsals,
)
from service.api.openapi import operation_of
from service.api.queries import NoParameters, parameters
from service.api.request_ids import HEADER, request_id
from service.api.requests import traceparent
from service.context import open_context
from service.errors import NotFound
from service.settings import Settings
from service.telemetry import configure_logging

log = structlog.get_logger(__name__)

_PARTS = (
    datasets,
    fits,
    rehearsals,
    artifacts,
    plots,
    predictions,
    checks,
    gradients,
    lr_range_tests,
    batches,
    operations,
    metrics,
    documentation,
)


class _Api(Flask):
    def make_default_options_response(self) -> Response:
        """`Allow` alone, without a body."""
        answer = super().make_default_options_response()
        answer.status_code = HTTPStatus.NO_CONTENT
        del answer.headers["Content-Type"]
        return answer


def create_app(settings: Settings | None = None) -> Flask:
    """The whole API on the parts that the settings name; nothing is sent before a request."""
    settings = settings or Settings()
    configure_logging(settings)
    app = _Api("service.api", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    app.url_map.strict_slashes = False
    context = open_context(settings)
    app.extensions["thalweg"] = context
    atexit.register(context.close)
    app.before_request(_begin)
    metrics.install(app)
    access.install(app)
    app.before_request(_refuse_nul)
    app.before_request(_refuse_parameters)
    app.after_request(_end)
    app.after_request(connections.announce_close)
    # The last one is called first: what is counted and logged includes it.
    compression.install(app)
    problems.install(app)
    for part in _PARTS:
        app.register_blueprint(part.blueprint)
    return app


def _begin() -> None:
    g.request_id = request_id(request.headers.get(HEADER))
    g.began = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    if (trace := traceparent()) is not None:
        structlog.contextvars.bind_contextvars(traceparent=trace)


def _refuse_nul() -> None:
    """Nothing has a name with NUL, and PostgreSQL would not even look for it."""
    if "\0" in request.path:
        raise NotFound("no path has a NUL in it")


def _refuse_parameters() -> None:
    """An operation that takes no query parameters refuses them all."""
    view = current_app.view_functions.get(request.endpoint or "")
    described = operation_of(view) if view else None
    if described and described.query is NoParameters:
        parameters(NoParameters)


def _end(answer: Response) -> Response:
    answer.headers[HEADER] = g.request_id
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=answer.status_code,
        seconds=round(time.perf_counter() - g.began, 6),
    )
    return answer

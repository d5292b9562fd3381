"""`/livez` and `/readyz`."""

from collections.abc import Callable

import structlog
from flask import Blueprint, Response
from redis import RedisError

from service.api.openapi import Content, Operation, operation
from service.api.requests import opened_context as context
from service.api.responses import json_response
from service.database import DatabaseError
from service.errors import Unavailable
from service.schemas.answers.operations import Health, Readiness

log = structlog.get_logger(__name__)

blueprint = Blueprint("operations", __name__)

_MISSING = (RedisError, DatabaseError, Unavailable)


@blueprint.get("/livez")
@operation(
    Operation(
        "live",
        "operations",
        "Whether the API runs",
        answers={200: (Content(model=Health),)},
        public=True,
    )
)
def live() -> Response:
    """Always, when it answers at all."""
    return json_response({"status": "ok"})


@blueprint.get("/readyz")
@operation(
    Operation(
        "ready",
        "operations",
        "Whether every part that a fit needs is there, by name",
        answers={200: (Content(model=Readiness),), 503: (Content(model=Readiness),)},
        public=True,
    )
)
def ready() -> Response:
    """Look at each part."""
    parts = {
        "redis": _look(context().events.check),
        "database": _look(context().database.check),
        "storage": _look(context().storage.check),
    }
    well = all(found == "ok" for found in parts.values())
    return json_response({"status": "ok" if well else "unavailable", **parts}, 200 if well else 503)


def _look(check: Callable[[], None]) -> str:
    try:
        check()
    except _MISSING as error:
        # The reason stays in the log: it can hold addresses.
        log.warning("part_missing", error=str(error))
        return "unavailable"
    return "ok"

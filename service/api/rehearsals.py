"""`/v1/fits:validate`."""

from flask import Blueprint, Response

from service.api.examples import FIT
from service.api.openapi import Content, Operation, operation
from service.api.requests import context, json_body, owner
from service.api.responses import json_response
from service.rehearsal import rehearse
from service.schemas.answers.fits import ValidFit
from service.schemas.fits import FitRequest

blueprint = Blueprint("rehearsals", __name__)


@blueprint.post("/v1/fits:validate")
@operation(
    Operation(
        "validateFit",
        "fits",
        "The resolved spec and what the fit would take, or what to mend; nothing is queued",
        body=(Content(model=FitRequest, example=FIT),),
        answers={200: (Content(model=ValidFit),)},
        problems=(400, 404, 410, 413, 415, 422),
    )
)
def validate_fit() -> Response:
    """Look at a fit's request as if it were queued."""
    return json_response(rehearse(context(), json_body(FitRequest), owner=owner()))

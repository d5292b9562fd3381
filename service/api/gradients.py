"""`/v1/gradients`."""

from flask import Blueprint, Response

from service.api.examples import GRADIENT
from service.api.openapi import Content, Operation, operation
from service.api.requests import context, json_body, owner
from service.api.responses import json_response
from service.gradients import check_gradients
from service.schemas.answers.models import GradientCheck
from service.schemas.rows import GradientRequest

blueprint = Blueprint("gradients", __name__, url_prefix="/v1/gradients")


@blueprint.post("")
@operation(
    Operation(
        "createGradients",
        "gradients",
        "A loss and its gradient at given weights, beside a central-difference check",
        body=(Content(model=GradientRequest, example=GRADIENT),),
        answers={200: (Content(model=GradientCheck),)},
        problems=(400, 404, 410, 413, 415, 422, 503),
    )
)
def create_gradients() -> Response:
    """Differentiate, and keep nothing."""
    return json_response(check_gradients(context(), json_body(GradientRequest), owner()))

"""`/v1/fits/{id}/checks`."""

from typing import Any

from flask import Blueprint, Response

from service import checks
from service.api.answer_headers import RESOURCE
from service.api.examples import CHECKS as EXAMPLE
from service.api.openapi import Content, Operation, operation
from service.api.requests import context, json_body, owner, preferred
from service.api.responses import json_response, resource
from service.gradescope import MEDIA_TYPE as GRADESCOPE
from service.gradescope import results
from service.schemas.answers.checks import CheckOutcomes, GradescopeResults
from service.schemas.checks import ChecksRequest

blueprint = Blueprint("checks", __name__, url_prefix="/v1/fits/<fit_id>/checks")

_JSON = "application/json"
_OUTCOMES = (Content(_JSON, CheckOutcomes), Content(GRADESCOPE, GradescopeResults))


@blueprint.post("")
@operation(
    Operation(
        "checkFit",
        "checks",
        "Compare an ended fit's numbers with what is expected, in the form that `Accept` names",
        body=(Content(model=ChecksRequest, example=EXAMPLE),),
        answers={200: _OUTCOMES},
        problems=(400, 404, 406, 409, 410, 413, 415, 422, 503),
    )
)
def check_fit(fit_id: str) -> Response:
    """Check, and keep nothing."""
    media_type = preferred(_JSON, GRADESCOPE)
    given = json_body(ChecksRequest)
    summary = checks.check_fit(context(), fit_id, given, owner())
    return _as(media_type, json_response(_said(summary, media_type)))


@blueprint.get("")
@operation(
    Operation(
        "getChecks",
        "checks",
        "What the checks that came with a fit came to, in the form that `Accept` names",
        answers={200: _OUTCOMES, 304: ()},
        headers={200: RESOURCE},
        problems=(404, 406, 410, 422),
    )
)
def get_checks(fit_id: str) -> Response:
    """The fit's own checks."""
    media_type = preferred(_JSON, GRADESCOPE)
    summary = checks.given_checks(context(), fit_id, owner())
    return _as(media_type, resource(_said(summary, media_type)))


def _said(summary: dict[str, Any], media_type: str) -> dict[str, Any]:
    return results(summary) if media_type == GRADESCOPE else summary


def _as(media_type: str, answer: Response) -> Response:
    # A 304 has no body that would be of a type.
    if answer.content_type:
        answer.content_type = media_type
    answer.vary.add("Accept")
    return answer

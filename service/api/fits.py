"""`/v1/fits`."""

from flask import Blueprint, Response

from service.api.answer_headers import RESOURCE
from service.api.awaited import events_operation
from service.api.examples import FIT as EXAMPLE
from service.api.jobs import Jobs
from service.api.links import with_links
from service.api.openapi import Content, Operation, operation
from service.api.queries import FitListParameters, parameters
from service.api.requests import json_body
from service.kinds import FIT
from service.schemas.answers.fits import Fit, FitList
from service.schemas.fits import FitRequest

blueprint = Blueprint("fits", __name__, url_prefix="/v1/fits")

_FITS = Jobs(FIT, with_links)


@blueprint.post("")
@operation(
    Operation(
        "createFit",
        "fits",
        "Queue a fit; with `Prefer: wait=N` wait for its end",
        body=(Content(model=FitRequest, example=EXAMPLE),),
        answers={200: (Content(model=Fit),), 202: (Content(model=Fit),)},
        headers={
            200: ("Location", "Preference-Applied"),
            202: ("Location", "Retry-After", "Preference-Applied"),
        },
        problems=(400, 404, 410, 413, 415, 422, 503),
        prefers_wait=True,
        creates=True,
    )
)
def create_fit() -> Response:
    """Queue a fit."""
    return _FITS.submitted(json_body(FitRequest))


@blueprint.get("")
@operation(
    Operation(
        "listFits",
        "fits",
        "List fits, newest first, or look up many by id",
        query=FitListParameters,
        answers={200: (Content(model=FitList),), 304: ()},
        headers={200: (*RESOURCE, "Link")},
        problems=(404, 410, 422),
    )
)
def list_fits() -> Response:
    """A page of fits."""
    return _FITS.listed(parameters(FitListParameters))


@blueprint.get("/<fit_id>")
@operation(
    Operation(
        "getFit",
        "fits",
        "Look a fit up; with `Prefer: wait=N` wait for its end",
        answers={200: (Content(model=Fit),), 304: ()},
        headers={200: (*RESOURCE, "Preference-Applied")},
        problems=(404, 410, 422),
        prefers_wait=True,
    )
)
def get_fit(fit_id: str) -> Response:
    """One fit."""
    return _FITS.shown(fit_id)


@blueprint.get("/<fit_id>/events")
@operation(events_operation("getFitEvents", "fits", "fit"))
def get_fit_events(fit_id: str) -> Response:
    """What happens to one fit."""
    return _FITS.events(fit_id)


@blueprint.post("/<fit_id>/cancel")
@operation(
    Operation(
        "cancelFit",
        "fits",
        "End a fit; what a running one has so far is kept",
        answers={202: (Content(model=Fit),)},
        problems=(404, 409, 410, 422),
    )
)
def cancel_fit(fit_id: str) -> Response:
    """Cancel one fit."""
    return _FITS.cancelled(fit_id)


@blueprint.delete("/<fit_id>")
@operation(
    Operation(
        "deleteFit",
        "fits",
        "Forget an ended fit",
        answers={204: ()},
        problems=(404, 409, 410, 422),
    )
)
def delete_fit(fit_id: str) -> Response:
    """Forget one fit."""
    return _FITS.deleted(fit_id)

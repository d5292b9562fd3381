"""`/v1/fits`."""

import re
from dataclasses import replace

from flask import Blueprint, Response, request

from service import fits, lifecycle, submission
from service.api.examples import FIT
from service.api.links import fit_url, with_links
from service.api.lists import list_response
from service.api.openapi import Content, Operation, operation
from service.api.queries import FitListParameters, list_query, parameters
from service.api.requests import context, json_body, owner
from service.api.responses import json_response, resource
from service.api.waiting import draining, preferred_wait_seconds
from service.errors import InvalidInput, Place
from service.schemas.answers import Fit, FitList
from service.schemas.common import TERMINAL
from service.schemas.fits import FitRequest
from service.schemas.lists import Page
from service.waiting import wait_until_ended

blueprint = Blueprint("fits", __name__, url_prefix="/v1/fits")

_LOOK_AGAIN_SECONDS = 1
_MOST_IDS = 1000
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@blueprint.post("")
@operation(
    Operation(
        "createFit",
        "fits",
        "Queue a fit; with `Prefer: wait=N` wait for its end",
        body=(Content(model=FitRequest, example=FIT),),
        answers={200: (Content(model=Fit),), 202: (Content(model=Fit),)},
        headers={
            200: ("Location", "Preference-Applied"),
            202: ("Location", "Retry-After", "Preference-Applied"),
        },
        problems=(400, 404, 410, 413, 415, 422, 503),
        prefers_wait=True,
    )
)
def create_fit() -> Response:
    """Queue a fit."""
    given = json_body(FitRequest)
    fit = submission.submit(context(), given, owner=owner(), traceparent=_traceparent())
    headers = {"Location": fit_url(fit)} | _wait(fit["id"])
    if "Preference-Applied" in headers:
        fit = fits.get_fit(context(), fit["id"], owner())
    ended = fit["status"] in TERMINAL
    if not ended:
        headers["Retry-After"] = str(_LOOK_AGAIN_SECONDS)
    return json_response(with_links(fit), 200 if ended else 202, headers)


def _traceparent() -> str | None:
    """The caller's trace (W3C), for the worker's log; None where it is none."""
    given = request.headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) else None


def _wait(fit_id: str) -> dict[str, str]:
    """Hold the answer as the request prefers; the header that says so."""
    seconds = preferred_wait_seconds()
    if seconds is None:
        return {}
    wait_until_ended(context(), fit_id, seconds, draining)
    return {"Preference-Applied": f"wait={seconds}"}


@blueprint.get("")
@operation(
    Operation(
        "listFits",
        "fits",
        "List fits, newest first, or look up many by id",
        query=FitListParameters,
        answers={200: (Content(model=FitList),)},
        headers={200: ("Link",)},
        problems=(404, 422),
    )
)
def list_fits() -> Response:
    """A page of fits."""
    asked = parameters(FitListParameters)
    if asked.ids is None:
        page = fits.list_fits(context(), list_query(asked), owner())
    else:
        page = Page(fits.get_fits(context(), _ids(asked.ids), owner()), None)
    return list_response(replace(page, data=[with_links(fit) for fit in page.data]))


def _ids(listed: str) -> list[str]:
    ids = listed.split(",")
    if len(ids) > _MOST_IDS:
        detail = f"ids: at most {_MOST_IDS} at once"
        raise InvalidInput(detail, places=[Place("too_many_ids", detail)])
    return ids


@blueprint.get("/<fit_id>")
@operation(
    Operation(
        "getFit",
        "fits",
        "Look a fit up; with `Prefer: wait=N` wait for its end",
        answers={200: (Content(model=Fit),), 304: ()},
        headers={200: ("ETag", "Preference-Applied")},
        problems=(404, 410, 422),
        prefers_wait=True,
    )
)
def get_fit(fit_id: str) -> Response:
    """One fit."""
    fit = fits.get_fit(context(), fit_id, owner())
    headers = {} if fit["status"] in TERMINAL else _wait(fit_id)
    if headers:
        fit = fits.get_fit(context(), fit_id, owner())
    return resource(with_links(fit), headers)


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
    return json_response(with_links(lifecycle.cancel(context(), fit_id, owner())), 202)


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
    fits.delete_fit(context(), fit_id, owner())
    return Response(status=204)

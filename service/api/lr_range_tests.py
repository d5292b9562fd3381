"""`/v1/lr-range-tests`."""

from flask import Blueprint, Response

from service.api.answer_headers import RESOURCE
from service.api.awaited import events_operation
from service.api.examples import LR_RANGE_TEST as EXAMPLE
from service.api.jobs import Jobs
from service.api.links import with_range_test_links
from service.api.openapi import Content, Operation, operation
from service.api.plots import drawing
from service.api.queries import FitListParameters, parameters
from service.api.requests import context, json_body, owner
from service.api.responses import artifact
from service.kinds import LR_RANGE_TEST
from service.lr_range_plots import get_range_plot
from service.plots import MEDIA_TYPES, Plot
from service.schemas.answers.lr_range import LrRangeTest, LrRangeTestList
from service.schemas.lr_range import LrRangeRequest
from service.schemas.plots import PlotFormat, PlotOptions

blueprint = Blueprint("lr_range_tests", __name__, url_prefix="/v1/lr-range-tests")

_TAG = "lr-range-tests"
_TESTS = Jobs(LR_RANGE_TEST, with_range_test_links)


@blueprint.post("")
@operation(
    Operation(
        "createLrRangeTest",
        _TAG,
        "Queue a learning-rate range test; with `Prefer: wait=N` wait for its end",
        body=(Content(model=LrRangeRequest, example=EXAMPLE),),
        answers={200: (Content(model=LrRangeTest),), 202: (Content(model=LrRangeTest),)},
        headers={
            200: ("Location", "Preference-Applied"),
            202: ("Location", "Retry-After", "Preference-Applied"),
        },
        problems=(400, 404, 410, 413, 415, 422, 503),
        prefers_wait=True,
        creates=True,
    )
)
def create_range_test() -> Response:
    """Queue a range test."""
    return _TESTS.submitted(json_body(LrRangeRequest))


@blueprint.get("")
@operation(
    Operation(
        "listLrRangeTests",
        _TAG,
        "List learning-rate range tests, newest first, or look up many by id",
        query=FitListParameters,
        answers={200: (Content(model=LrRangeTestList),), 304: ()},
        headers={200: (*RESOURCE, "Link")},
        problems=(404, 410, 422),
    )
)
def list_range_tests() -> Response:
    """A page of range tests."""
    return _TESTS.listed(parameters(FitListParameters))


@blueprint.get("/<test_id>")
@operation(
    Operation(
        "getLrRangeTest",
        _TAG,
        "Look a learning-rate range test up; with `Prefer: wait=N` wait for its end",
        answers={200: (Content(model=LrRangeTest),), 304: ()},
        headers={200: (*RESOURCE, "Preference-Applied")},
        problems=(404, 410, 422),
        prefers_wait=True,
    )
)
def get_range_test(test_id: str) -> Response:
    """One range test."""
    return _TESTS.shown(test_id)


@blueprint.get("/<test_id>/events")
@operation(events_operation("getLrRangeTestEvents", _TAG, "learning-rate range test"))
def get_range_test_events(test_id: str) -> Response:
    """What happens to one range test."""
    return _TESTS.events(test_id)


@blueprint.post("/<test_id>/cancel")
@operation(
    Operation(
        "cancelLrRangeTest",
        _TAG,
        "End a learning-rate range test; the curve that a running one has so far is kept",
        answers={202: (Content(model=LrRangeTest),)},
        problems=(404, 409, 410, 422),
    )
)
def cancel_range_test(test_id: str) -> Response:
    """Cancel one range test."""
    return _TESTS.cancelled(test_id)


@blueprint.delete("/<test_id>")
@operation(
    Operation(
        "deleteLrRangeTest",
        _TAG,
        "Forget an ended learning-rate range test",
        answers={204: ()},
        problems=(404, 409, 410, 422),
    )
)
def delete_range_test(test_id: str) -> Response:
    """Forget one range test."""
    return _TESTS.deleted(test_id)


@blueprint.get("/<test_id>/plots/<kind>.<any(png,svg):form>")
@operation(
    drawing(
        "getLrRangeTestPlot",
        _TAG,
        "The picture `lr`: the losses over the rates, and what they suggest",
        PlotOptions,
        MEDIA_TYPES,
        kind="lr",
    )
)
def get_range_test_plot(test_id: str, kind: str, form: PlotFormat) -> Response:
    """The picture, drawn now if it was not before."""
    plot = Plot(kind, form, parameters(PlotOptions))
    content = get_range_plot(context(), test_id, plot, owner())
    return artifact(content, MEDIA_TYPES[form], f"{test_id}-{kind}.{form}")

"""`/v1/fits/{id}/plots/{kind}.{png,svg}` and `/v1/fits/{id}/plots/animation.{gif,mp4}`."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response
from pydantic import BaseModel

from service.api.answer_headers import ARTIFACT
from service.api.examples import PICTURES
from service.api.openapi import BINARY, Content, Operation, operation
from service.api.queries import parameters
from service.api.requests import context, owner
from service.api.responses import artifact
from service.plots import ANIMATION, ANIMATION_TYPES, MEDIA_TYPES, Plot, get_plot
from service.schemas.plots import AnimationFormat, AnimationOptions, PlotFormat, PlotOptions

blueprint = Blueprint("plots", __name__, url_prefix="/v1/fits/<fit_id>/plots")


def drawing(
    operation_id: str,
    tag: str,
    summary: str,
    options: type[BaseModel],
    media_types: Mapping[Any, str],
    *,
    kind: str | None = None,
) -> Operation:
    """What a view takes and answers that has a picture drawn, in any of these forms.

    `kind` is one for an example, where the path names one.
    """
    return Operation(
        operation_id,
        tag,
        summary,
        query=options,
        answers={
            200: tuple(
                Content(media_type, example=PICTURES.get(media_type), schema=BINARY)
                for media_type in media_types.values()
            ),
            206: (),
            304: (),
        },
        headers={200: ARTIFACT},
        problems=(404, 410, 416, 422, 503),
        path_values={"form": tuple(media_types)},
        path_examples={"kind": kind} if kind else {},
    )


@blueprint.get("/<kind>.<any(png,svg):form>")
@operation(
    drawing(
        "getPlot",
        "artifacts",
        "A picture of the fit: `loss`, `fit` (data and curve), `residuals`, `predicted`, `surface` "
        "(the loss over two weights), `boundary` (between classes), `weights` (over the steps), "
        "`confusion`, `roc`; 404 names those that suit the fit",
        PlotOptions,
        MEDIA_TYPES,
        kind="loss",
    )
)
def get_picture(fit_id: str, kind: str, form: PlotFormat) -> Response:
    """One picture, drawn now if it was not before."""
    plot = Plot(kind, form, parameters(PlotOptions))
    content = get_plot(context(), fit_id, plot, owner())
    return artifact(content, MEDIA_TYPES[form], f"{fit_id}-{kind}.{form}")


@blueprint.get("/animation.<any(gif,mp4):form>")
@operation(
    drawing(
        "getAnimation",
        "artifacts",
        "The fitted curve as it moves, of a fit of one feature with `record.weights`",
        AnimationOptions,
        ANIMATION_TYPES,
    )
)
def get_animation(fit_id: str, form: AnimationFormat) -> Response:
    """The animation, drawn now if it was not before."""
    plot = Plot(ANIMATION, form, parameters(AnimationOptions))
    content = get_plot(context(), fit_id, plot, owner())
    return artifact(content, ANIMATION_TYPES[form], f"{fit_id}-{ANIMATION}.{form}")

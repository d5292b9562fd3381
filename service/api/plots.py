"""`/v1/fits/{id}/plots/{kind}.{png,svg}`."""

from flask import Blueprint, Response

from service.api.openapi import Content, Operation, operation
from service.api.queries import parameters
from service.api.requests import context, owner
from service.api.responses import artifact
from service.plots import MEDIA_TYPES, Plot, get_plot
from service.schemas.plots import PlotFormat, PlotOptions

blueprint = Blueprint("plots", __name__, url_prefix="/v1/fits/<fit_id>/plots")


@blueprint.get("/<kind>.<any(png,svg):form>")
@operation(
    Operation(
        "getPlot",
        "artifacts",
        "A picture of the fit: `loss`, or `fit` (data, initial and fitted line)",
        query=PlotOptions,
        answers={
            200: tuple(Content(media_type) for media_type in MEDIA_TYPES.values()),
            206: (),
            304: (),
        },
        headers={200: ("ETag",)},
        problems=(404, 410, 416, 422, 503),
        path_values={"form": tuple(MEDIA_TYPES)},
    )
)
def get_picture(fit_id: str, kind: str, form: PlotFormat) -> Response:
    """One picture, drawn now if it was not before."""
    plot = Plot(kind, form, parameters(PlotOptions))
    content = get_plot(context(), fit_id, plot, owner())
    return artifact(content, MEDIA_TYPES[form], f"{fit_id}-{kind}.{form}")

"""A fit's pictures: drawn by a worker when first asked for, then kept."""

import hashlib
from dataclasses import dataclass
from typing import Any

from service.context import Context
from service.errors import Gone, PlotFailed, PlotNotApplicable, Unavailable
from service.fits import get_fit
from service.ids import new_id
from service.queue import BROKER_ERRORS
from service.schemas.common import TERMINAL
from service.schemas.plots import PlotFormat, PlotOptions
from service.suitability import OF_CLASSES

_DRAWN_WITHIN_SECONDS = 30.0
MEDIA_TYPES: dict[PlotFormat, str] = {"png": "image/png", "svg": "image/svg+xml"}


def plot_kinds(fit: dict[str, Any]) -> list[str]:
    """The kinds that suit the fit; none before its end or where nothing was recorded."""
    if fit["status"] not in TERMINAL or fit["loss_history"] is None:
        return []
    kinds = ["loss"]
    spec = fit["spec"]
    # A category's coefficients have other names than its column.
    named = fit["coefficients"] is not None and set(spec["features"]) <= set(fit["coefficients"])
    line = spec["model"]["kind"] == "linear" and spec["loss"]["kind"] not in OF_CLASSES
    if named and line and len(spec["features"]) == 1 and isinstance(spec["target"], str):
        kinds.append("fit")
    return kinds


@dataclass(frozen=True)
class Plot:
    """Which picture, and how it is wanted."""

    kind: str
    plot_format: PlotFormat
    options: PlotOptions

    def key(self, fit_id: str) -> str:
        """Where the object store keeps the fit's picture."""
        look = hashlib.sha256(self.options.model_dump_json().encode()).hexdigest()[:12]
        return f"fits/{fit_id}/plots/{self.kind}-{look}.{self.plot_format}"


def get_plot(context: Context, fit_id: str, plot: Plot, owner: str) -> bytes:
    """The picture's bytes.

    Raises NotFound, Gone, PlotNotApplicable, PlotFailed, and Unavailable where no worker draws
    it in time.
    """
    kinds = plot_kinds(get_fit(context, fit_id, owner))
    if plot.kind not in kinds:
        listed = ", ".join(kinds) or "none yet"
        raise PlotNotApplicable(f"the fit {fit_id} has no plot {plot.kind!r}; it has: {listed}")
    key = plot.key(fit_id)
    try:
        return context.storage.get(key)
    except KeyError:
        _have_drawn(context, fit_id, plot)
    return context.storage.get(key)


def _have_drawn(context: Context, fit_id: str, plot: Plot) -> None:
    """Send for a worker and wait for what it says."""
    ticket = new_id("plot")
    request = {
        "ticket": ticket,
        "fit_id": fit_id,
        "kind": plot.kind,
        "plot_format": plot.plot_format,
        "options": plot.options.model_dump(mode="json"),
    }
    try:
        context.queue.plot(request)
        told = context.events.first(ticket, seconds=_DRAWN_WITHIN_SECONDS)
    except BROKER_ERRORS as error:
        raise Unavailable("redis does not answer, so that no worker can draw") from error
    if told is None:
        raise Unavailable(f"no worker drew the picture within {_DRAWN_WITHIN_SECONDS:.0f} s")
    end, data = told
    if end == "gone":
        raise Gone(data["message"])
    if end != "drawn":
        raise PlotFailed(data["message"])

"""A fit's pictures: drawn by a worker when first asked for, then kept."""

import hashlib
from dataclasses import dataclass
from typing import Any

from service.context import Context
from service.errands import run_errand
from service.errors import PlotNotApplicable
from service.fits import get_fit
from service.schemas.common import TERMINAL
from service.schemas.plots import PlotFormat, PlotOptions
from service.storage import MissingObject
from service.suitability import OF_CLASSES

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

    Raises NotFound, Gone, PlotNotApplicable, WorkerFailed, and Unavailable where no worker draws
    it in time.
    """
    kinds = plot_kinds(get_fit(context, fit_id, owner))
    if plot.kind not in kinds:
        listed = ", ".join(kinds) or "none yet"
        raise PlotNotApplicable(f"the fit {fit_id} has no plot {plot.kind!r}; it has: {listed}")
    return drawn(context, "plot", fit_id, plot)


def drawn(context: Context, errand: str, fit_id: str, plot: Plot) -> bytes:
    """The picture as it is kept, or else as the errand draws it now; raises as `get_plot` does."""
    key = plot.key(fit_id)
    try:
        return context.storage.get(key)
    except MissingObject:
        arguments = {
            "fit_id": fit_id,
            "kind": plot.kind,
            "plot_format": plot.plot_format,
            "options": plot.options.model_dump(mode="json"),
        }
        run_errand(context, errand, arguments)
    return context.storage.get(key)

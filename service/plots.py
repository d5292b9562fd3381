"""A fit's pictures: drawn by a worker when first asked for, then kept."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from service.context import Context
from service.errands import run_errand
from service.errors import PlotNotApplicable
from service.fits import get_fit
from service.schemas.common import TERMINAL
from service.schemas.plots import AnimationFormat, PlotFormat, PlotOptions
from service.storage import MissingObject
from service.suitability import OF_CLASSES

MEDIA_TYPES: Mapping[PlotFormat, str] = {"png": "image/png", "svg": "image/svg+xml"}
ANIMATION_TYPES: Mapping[AnimationFormat, str] = {"gif": "image/gif", "mp4": "video/mp4"}
ANIMATION = "animation"

_OF_A_PLANE = ("linear", "polynomial", "logistic")
_TWO = 2
_MOST_CURVES = 10


@dataclass(frozen=True)
class _Ended:
    """What decides which pictures suit an ended fit."""

    spec: Mapping[str, Any]
    result: Mapping[str, Any]
    columns: Sequence[Mapping[str, Any]]

    @property
    def of_classes(self) -> bool:
        """Whether the target is one of classes."""
        return self.spec["loss"]["kind"] in OF_CLASSES

    def has_numbers(self, n: int) -> bool:
        """Whether the features are so many columns, all of numbers."""
        names = self.spec["features"]
        if len(names) != n:
            return False
        found = [column["type"] for column in self.columns if column["name"] in names]
        return found == ["number"] * n

    @property
    def has_curve(self) -> bool:
        """Whether the model is one number for each one of a column's."""
        one_target = isinstance(self.spec["target"], str) or len(self.spec["target"]) == 1
        if not self.has_numbers(1) or not one_target:
            return False
        if not self.of_classes:
            return True
        # A hinge's scores are no probabilities.
        return self.spec["loss"]["kind"] != "hinge" and len(self.result["classes"]) == _TWO

    @property
    def has_plane(self) -> bool:
        """Whether the loss is a function of just two weights, both of which matter."""
        weights = self.result["weights"]
        if self.spec["model"]["kind"] not in _OF_A_PLANE or weights is None:
            return False
        n_outputs = len(weights["weight"])
        return n_outputs == 1 and len(weights["weight"][0]) + len(weights.get("bias", ())) == _TWO

    @property
    def has_trajectory(self) -> bool:
        """Whether weights were recorded, at one step at least."""
        history = self.result["loss_history"]
        return self.spec["record"]["weights"] and history is not None and history["n"] > 0

    @property
    def has_scores(self) -> bool:
        """Whether there are rows of several classes to tell apart, and not too many classes."""
        measured = self.measured_classes
        if measured is None or len(self.result["classes"]) > _MOST_CURVES:
            return False
        return sum(any(row) for row in measured["confusion_matrix"]) > 1

    @property
    def measured_classes(self) -> Mapping[str, Any] | None:
        """The metrics of classes; None of other fits, and of those cancelled before they were."""
        metrics = self.result["metrics"]
        measured: Mapping[str, Any] | None = metrics["validation"] or metrics["train"]
        return measured if self.of_classes else None


# One entry a kind: whether it suits. A worker draws whatever does.
_SUITS: Mapping[str, Callable[[_Ended], bool]] = {
    "loss": lambda ended: ended.result["loss_history"] is not None,
    "fit": lambda ended: ended.has_curve,
    "residuals": lambda ended: not ended.of_classes,
    "predicted": lambda ended: not ended.of_classes,
    "surface": lambda ended: ended.has_plane,
    "boundary": lambda ended: ended.of_classes and ended.has_numbers(_TWO),
    "weights": lambda ended: ended.has_trajectory,
    "confusion": lambda ended: ended.measured_classes is not None,
    "roc": lambda ended: ended.has_scores,
    ANIMATION: lambda ended: ended.has_curve and ended.has_trajectory,
}
PLOT_KINDS = tuple(_SUITS)


def plot_kinds(
    spec: Mapping[str, Any], result: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The kinds that suit a fit with this result; `columns` are its dataset's own summaries."""
    ended = _Ended(spec, result, columns)
    return [kind for kind, suits in _SUITS.items() if suits(ended)]


@dataclass(frozen=True)
class Plot:
    """Which picture, and how it is wanted."""

    kind: str
    plot_format: PlotFormat | AnimationFormat
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
    _refuse_unsuitable(get_fit(context, fit_id, owner), plot)
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


def _refuse_unsuitable(fit: Mapping[str, Any], plot: Plot) -> None:
    kinds = fit["plots"]
    moves = plot.plot_format in get_args(AnimationFormat)
    if plot.kind in kinds and (plot.kind == ANIMATION) == moves:
        return
    listed = ", ".join(kinds) or "none"
    detail = f"the fit {fit['id']} has no plot {plot.kind}.{plot.plot_format}; it has: {listed}"
    if fit["status"] not in TERMINAL:
        detail += f", for it is {fit['status']}: plots are drawn once it has ended"
    elif plot.kind == ANIMATION and plot.kind in kinds:
        detail += f"; an animation is a {' or an '.join(ANIMATION_TYPES)}"
    elif plot.kind in ("weights", ANIMATION) and not fit["spec"]["record"]["weights"]:
        detail += "; weights that move are drawn of a fit with record.weights"
    raise PlotNotApplicable(detail)

"""Pictures of a model that is one number for each one of a column's."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from service.suitability import OF_CLASSES
from workers.engine import answers, probabilities
from workers.plots.framing import drawable, frame, legend_below
from workers.plots.subject import Arrays, Rows, Subject
from workers.plots.wording import equation, name_of, sample_of

Floats = NDArray[np.float64]

_CURVE_POINTS = 400
_COLORS = {"training": "C0", "validation": "C1"}
# A curve that leaves the data farther than so many times their range leaves the picture.
_REACH = 2.0
_MARGIN = 0.05


@dataclass(frozen=True)
class Curve:
    """The model's number over x (m,), the feature's range in the rows that are drawn.

    Of classes it is the probability of the second one.
    """

    subject: Subject
    x: Floats

    @classmethod
    def over(cls, subject: Subject, rows: Rows) -> "Curve":
        """Over the range of the rows; a straight line needs its ends alone."""
        x = drawable(np.concatenate([part.data.x[:, 0] for part in rows.parts.values()]))
        low, high = x.min(), x.max()
        # Of a constant column there would be no more than a point.
        room = 0.5 * max(1.0, abs(low)) if low == high else 0.0
        n_points = 2 if _is_line(subject) else subject.affordable(_CURVE_POINTS)
        return cls(subject, np.linspace(low - room, high + room, n_points))

    def at(self, weights: Arrays) -> Floats:
        """The curve (m,) at some weights."""
        loss = self.subject.fitted.spec.loss
        outputs = self.subject.outputs(self.subject.features(self.x), weights)
        likely = probabilities(loss, outputs)
        numbers = answers(loss, outputs)[:, 0] if likely is None else likely[:, -1]
        return drawable(numbers)

    def name(self, what: str, weights: Arrays) -> str:
        """`what`, with the equation where the curve is a straight line."""
        if not _is_line(self.subject):
            return what
        scaling = self.subject.fitted.scaling
        own = weights if scaling is None else scaling.in_own_units(weights)
        intercept = float(own["bias"][0]) if "bias" in own else None
        feature = name_of(self.subject.spec["features"][0])
        return f"{what}: {equation(float(own['weight'][0, 0]), intercept, feature)}"


def _is_line(subject: Subject) -> bool:
    kind = subject.spec["loss"]["kind"]
    return subject.spec["model"]["kind"] == "linear" and kind not in ("poisson", *OF_CLASSES)


def draw_fit(axes: Axes, subject: Subject) -> None:
    """The data, the curve at the initial weights and the fitted one."""
    rows = subject.rows()
    curve = Curve.over(subject, rows)
    draw_rows(axes, subject, rows)
    drawn = []
    if subject.initial_weights is not None:
        drawn.append(curve.at(subject.initial_weights))
        name = curve.name("initial", subject.initial_weights)
        axes.plot(curve.x, drawn[-1], label=name, color="0.55", linestyle="--")
    drawn.append(curve.at(subject.fitted.weights))
    name = curve.name("fitted", subject.fitted.weights)
    axes.plot(curve.x, drawn[-1], label=name, color="C3", linewidth=2)
    look_at(axes, rows, drawn)
    shape = "line" if _is_line(subject) else "curve"
    axes.set_title(f"Data and fitted {shape}{sample_of(list(rows.parts.values()))}")
    legend_below(axes)


def draw_rows(axes: Axes, subject: Subject, rows: Rows) -> None:
    """The data, and the names of their axes."""
    for name, part in rows.parts.items():
        label = "data" if len(rows.parts) == 1 else f"{name} data"
        x, y = drawable(part.data.x[:, 0]), drawable(part.data.y[:, 0])
        axes.scatter(x, y, s=14, alpha=0.75, label=label, color=_COLORS[name], linewidths=0)
    target = name_of(subject.fitted.columns.targets[0])
    classes = subject.fitted.classes
    frame(axes, "", name_of(subject.spec["features"][0]), target)
    if classes is not None:
        first, second = map(name_of, classes)
        axes.set_ylabel(f"probability that {target} is {second}")
        axes.set_yticks(
            [0, 0.25, 0.5, 0.75, 1], [f"0 ({first})", "0.25", "0.5", "0.75", f"1 ({second})"]
        )


def look_at(axes: Axes, rows: Rows, curves: list[Floats]) -> None:
    """Choose the numbers that are seen: all data, and the curves where they are not far off."""
    y = drawable(np.concatenate([part.data.y[:, 0] for part in rows.parts.values()]))
    low, high = y.min(), y.max()
    reach = _REACH * (high - low) or max(1.0, abs(high))
    near = [np.clip(c[np.isfinite(c)], low - reach, high + reach) for c in curves]
    seen = np.concatenate([y, *near])
    margin = _MARGIN * (seen.max() - seen.min()) or reach
    axes.set_ylim(seen.min() - margin, seen.max() + margin)

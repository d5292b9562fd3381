"""Pictures of how far predicted numbers are from the true ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from workers.plots.framing import drawable, frame, legend_below
from workers.plots.subject import Rows, Subject
from workers.plots.wording import name_of, sample_of

Floats = NDArray[np.float64]

# More targets than there are colours could not be told apart.
_MOST_TARGETS = 10
_MARKERS = {"training": "o", "validation": "x"}
_OF_ONE_TARGET = {"training": "C0", "validation": "C1"}
_QUIET: dict[str, Any] = {"color": "0.55", "linestyle": "--", "linewidth": 1}


@dataclass(frozen=True)
class _Series:
    """One target's true and predicted numbers (m,) in one part of the rows."""

    true: Floats
    predicted: Floats
    look: dict[str, Any]

    @property
    def residual(self) -> Floats:
        """True less predicted."""
        return self.true - self.predicted


def draw_predicted(axes: Axes, subject: Subject) -> None:
    """Each row's predicted number over its true one; on the diagonal they are the same."""
    rows = subject.rows()
    drawn = list(_series(subject, rows))
    for one in drawn:
        axes.scatter(one.true, one.predicted, **one.look)
    true = np.concatenate([one.true for one in drawn])
    ends = [true.min(), true.max()]
    axes.plot(ends, ends, label="predicted = true", **_QUIET)
    frame(axes, f"Predicted against true {_what(subject, rows)}", "true", "predicted")
    legend_below(axes)


def draw_residuals(axes: Axes, subject: Subject) -> None:
    """Each row's residual, true less predicted, over its predicted number."""
    rows = subject.rows()
    for one in _series(subject, rows):
        axes.scatter(one.predicted, one.residual, **one.look)
    axes.axhline(0, **_QUIET)
    frame(axes, f"Residuals of {_what(subject, rows)}", "predicted", "true − predicted")
    legend_below(axes)


def _series(subject: Subject, rows: Rows) -> Iterator[_Series]:
    targets = subject.fitted.columns.targets[:_MOST_TARGETS]
    for part_name, part in rows.parts.items():
        predicted = drawable(subject.answers(part.data.x))
        for i, target in enumerate(targets):
            label, color = name_of(target), f"C{i}"
            if len(targets) == 1:
                label, color = f"{part_name} rows", _OF_ONE_TARGET[part_name]
            elif len(rows.parts) > 1:
                label = f"{label}, {part_name}"
            look: dict[str, Any] = {"label": label, "color": color, "marker": _MARKERS[part_name]}
            look |= {"s": 16, "alpha": 0.75, "linewidths": 0 if part_name == "training" else 1}
            yield _Series(drawable(part.data.y[:, i]), predicted[:, i], look)


def _what(subject: Subject, rows: Rows) -> str:
    """The target or targets, and the rows where these are not all."""
    targets = subject.fitted.columns.targets
    what = name_of(targets[0]) if len(targets) == 1 else "targets"
    if len(targets) > _MOST_TARGETS:
        what = f"targets, the first {_MOST_TARGETS} of {len(targets)}"
    return what + sample_of(list(rows.parts.values()))

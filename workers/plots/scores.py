"""Pictures of how well classes are told apart."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import auc, roc_curve

from workers.plots.class_colors import class_colors
from workers.plots.framing import frame, legend_below
from workers.plots.subject import Subject
from workers.plots.wording import name_of, sample_of

Floats = NDArray[np.float64]

_MOST_WRITTEN = 20
_MOST_TICKS = 20
_LONGEST_NAME = 20
# Names that are longer together do not stand beside each other.
_MOST_CHARACTERS = 60
_MOST_ROWS = 100_000
_TWO = 2


def draw_confusion(axes: Axes, subject: Subject) -> None:
    """How often each true class is predicted as each one: of held-out rows, if there are any."""
    metrics = subject.result["metrics"]
    held_out = metrics["validation"]
    counts = np.array((held_out or metrics["train"])["confusion_matrix"])
    image = axes.imshow(counts, cmap="Blues", vmin=0, vmax=max(1, counts.max()), aspect="auto")
    axes.figure.colorbar(image, ax=axes, label="rows")
    _name_ticks(axes, [name_of(label, _LONGEST_NAME) for label in subject.fitted.classes or ()])
    if len(counts) <= _MOST_WRITTEN:
        _write(axes, counts)
    part = "training" if held_out is None else "validation"
    frame(axes, f"Confusion matrix ({part} rows)", "predicted", "true", grid=False)


def _name_ticks(axes: Axes, names: list[str]) -> None:
    places = range(0, len(names), -(-len(names) // _MOST_TICKS))
    shown = [names[place] for place in places]
    if sum(map(len, shown)) > _MOST_CHARACTERS:
        axes.set_xticks(places, shown, rotation=45, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(places, shown)
    axes.set_yticks(places, shown)


def _write(axes: Axes, counts: NDArray[np.int64]) -> None:
    """The counts in their cells, in the colour that the cell's own lets be read."""
    size = "medium" if len(counts) <= _MOST_WRITTEN // 2 else "x-small"
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if count > counts.max() / 2 else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=color, size=size)


def draw_roc(axes: Axes, subject: Subject) -> None:
    """The rate of true positives over that of false ones, for each threshold of the score.

    Of held-out rows, if there are any; of more than two classes, each against the rest.
    """
    rows = subject.rows(_MOST_ROWS)
    name, part = [*rows.parts.items()][-1]
    outputs = subject.outputs(part.data.x)
    # What overflowed has no place in an order.
    finite = np.isfinite(outputs).all(axis=1)
    true = part.data.y[finite, 0].astype(np.int64)
    for label, color, positive, scores in _scores(subject, true, outputs[finite]):
        if positive.any() and not positive.all():
            false_rate, true_rate, _ = roc_curve(positive, scores)
            area = auc(false_rate, true_rate)
            axes.plot(false_rate, true_rate, color=color, label=f"{label}: AUC {area:.4g}")
    if not axes.get_lines():
        axes.text(0.5, 0.6, "no two classes to tell apart by finite scores", ha="center")
    axes.plot([0, 1], [0, 1], color="0.55", linestyle="--", linewidth=1, label="chance")
    several = len(subject.fitted.classes or ()) > _TWO
    what = "ROC of each class against the rest" if several else "ROC"
    title = f"{what} ({name} rows){sample_of([part])}"
    frame(axes, title, "false positive rate", "true positive rate")
    legend_below(axes)


def _scores(
    subject: Subject, true: NDArray[np.int64], outputs: Floats
) -> Iterator[tuple[str, object, NDArray[np.bool_], Floats]]:
    """Each curve's name and colour, which rows (m,) are positive, and all rows' scores (m,)."""
    classes = subject.fitted.classes or []
    colors = class_colors(len(classes))
    if len(classes) == _TWO:
        score = outputs[:, -1] - (outputs[:, 0] if outputs.shape[1] == _TWO else 0)
        yield name_of(classes[1]), "C0", true == 1, score
        return
    likely = softmax(outputs, axis=1)
    for place, label in enumerate(classes):
        yield name_of(label), colors[place], true == place, likely[:, place]

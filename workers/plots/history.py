"""Pictures of the descent itself: the loss and the weights over the steps."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from workers.plots.framing import drawable, frame, legend_below, scale_losses, thin
from workers.plots.subject import MOST_POINTS, Path, Subject
from workers.plots.weight_names import weight_name

Floats = NDArray[np.float64]

# Points that are this few are marked, for a line alone would show none of one.
_FEW = 40
_MOST_WEIGHTS = 50
_MOST_NAMED = 12
_MOST_STEPS = 2_000
_COLORS = 10


def draw_loss(axes: Axes, subject: Subject) -> None:
    """The loss before each update, and the epochs' losses after as many updates as they end at."""
    history = subject.history
    kept = thin(len(history["step"]), MOST_POINTS)
    step, loss = history["step"][kept], drawable(history["loss"][kept])
    ends, train, validation = _epochs(subject)
    if subject.batches.per_epoch > 1:
        axes.plot(step, loss, label="a batch's loss", color="C0", linewidth=0.8, alpha=0.6)
        _line(axes, ends, train, "training loss", "C0")
    else:
        _line(axes, step, loss, "training loss", "C0")
    if np.isfinite(validation).any():
        _line(axes, ends, validation, "validation loss", "C1")
    scale_losses(axes, loss, train, validation)
    frame(axes, f"Loss ({subject.stop_reason})", "step", f"{subject.spec['loss']['kind']} loss")
    legend_below(axes)


def _line(axes: Axes, x: NDArray[np.int64], y: Floats, label: str, color: str) -> None:
    marker = "." if len(x) <= _FEW else ""
    axes.plot(x, y, label=label, color=color, linewidth=1.5, marker=marker)


def _epochs(subject: Subject) -> tuple[NDArray[np.int64], Floats, Floats]:
    """After how many updates each epoch ended, and its losses; the last one may not have ended."""
    history, batches = subject.history, subject.batches
    number = history["epochs.epoch"]
    kept = thin(len(number), MOST_POINTS)
    ends = (number[kept] + 1) * batches.per_epoch - batches.position % batches.per_epoch
    return (
        np.minimum(ends, subject.n_steps),
        drawable(history["epochs.train_loss"][kept]),
        drawable(history["epochs.validation_loss"][kept]),
    )


def draw_weights(axes: Axes, subject: Subject) -> None:
    """Each fitted number over the recorded steps; of many, those that moved most."""
    path = subject.recorded
    places, n_weights = _moved_most(path, _MOST_WEIGHTS)
    named = len(places) <= _MOST_NAMED
    names = [weight_name(subject, *place) if named else place[0] for place in places]
    looks = {name: _look(i) for i, name in enumerate(dict.fromkeys(names))}
    kept = thin(len(path.step), _MOST_STEPS)
    for i, (array, place) in enumerate(places):
        values = path.weights[array].reshape(len(path.step), -1)[kept, place]
        # A name that many lines share stands in the legend once.
        label = "_" if names[i] in names[:i] else names[i]
        axes.plot(path.step[kept], drawable(values), label=label, linewidth=1.2, **looks[names[i]])
    title = "Weights"
    if len(places) < n_weights:
        title = f"The {len(places)} of {n_weights:,} weights that moved most"
    units = "" if subject.fitted.scaling is None else " (features standardized)"
    frame(axes, title, "step", f"weight{units}")
    legend_below(axes)


def _moved_most(path: Path, most: int) -> tuple[list[tuple[str, int]], int]:
    """The array and place of at most so many fitted numbers, in the model's order; of how many.

    What a batch norm has seen is not fitted.
    """
    arrays = {name: array for name, array in path.weights.items() if "running" not in name}
    spans = [drawable(np.ptp(a.reshape(len(a), -1), axis=0)) for a in arrays.values()]
    farthest = np.sort(np.argsort(-np.concatenate(spans), kind="stable")[:most])
    owners = np.repeat(np.arange(len(spans)), [len(span) for span in spans])
    begins = np.cumsum([0, *map(len, spans)])
    names = list(arrays)
    found = [(names[owners[i]], int(i - begins[owners[i]])) for i in farthest]
    return found, len(owners)


def _look(i: int) -> dict[str, Any]:
    return {"color": f"C{i % _COLORS}", "linestyle": "-" if i < _COLORS else "--"}

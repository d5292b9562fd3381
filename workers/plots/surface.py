"""The picture of the loss over a model's two weights."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from numpy.typing import NDArray

from workers.engine import Data
from workers.plots.framing import drawable, frame, legend_below, thin
from workers.plots.subject import Arrays, Subject
from workers.plots.weight_names import weight_name
from workers.plots.wording import number, sample_of

Floats = NDArray[np.float64]

_SIDE = 50
_MOST_ROWS = 5_000
_MOST_DRAWN_STEPS = 5_000
_N_LEVELS = 20
# Levels lie closer the lower the loss is: the lowest one's share of the whole range.
_LOWEST_SHARE = 1e-4
_LEAST_SHARE = 1e-300
_MARGIN = 0.2
_PATH = "#ff5533"


def draw_surface(axes: Axes, subject: Subject) -> None:
    """The loss, the penalty included, around the way from the initial weights to the final ones."""
    train = subject.rows(_MOST_ROWS).train
    ways = _ways(subject)
    x, y = (_around(column) for column in np.concatenate(ways).T)
    _draw_losses(axes, x, y, loss_grid(subject, train.data, x, y))
    _draw_ways(axes, ways, recorded=subject.path is not None)
    names = [_axis_name(subject, *place) for place in _places(subject.fitted.weights)]
    frame(axes, f"Loss over the two weights{sample_of([train])}", *names, grid=False)
    legend_below(axes)


def _places(weights: Arrays) -> Iterator[tuple[str, int]]:
    """The array and the place in it of each weight."""
    for name, array in weights.items():
        yield from ((name, i) for i in range(array.size))


def _axis_name(subject: Subject, array: str, place: int) -> str:
    name = weight_name(subject, array, place)
    units = "" if subject.fitted.scaling is None else " (features standardized)"
    return f"{name}{units}" if array == "bias" else f"weight of {name}{units}"


def _ways(subject: Subject) -> list[Floats]:
    """The points (m, 2) of the way, and the final one (1, 2)."""
    final = [array[None] for array in subject.fitted.weights.values()]
    way = final
    if subject.path is not None:
        way = [*subject.path.weights.values()]
    elif subject.initial_weights is not None:
        initial = subject.initial_weights
        way = [np.stack([initial[name], w]) for name, w in subject.fitted.weights.items()]
    return [drawable(np.hstack([w.reshape(len(w), -1) for w in one])) for one in (way, final)]


def _around(values: Floats) -> Floats:
    """The grid's numbers (_SIDE,) on one axis."""
    low, high = values.min(), values.max()
    margin = _MARGIN * (high - low) or 0.5 * max(1.0, abs(high))
    return np.linspace(low - margin, high + margin, _SIDE)


def loss_grid(subject: Subject, data: Data, x: Floats, y: Floats) -> Floats:
    """The training loss (len(y), len(x)) at each pair of weights; nan where it is not finite.

    It is `workers.engine.loss_over` in float64, a row of the grid at a time.
    """
    scaling = subject.fitted.scaling
    features = data.x if scaling is None else scaling.scale(data.x)
    n_weights = features.shape[1]
    found = np.empty((len(y), len(x)))
    for i, second in enumerate(y):
        pairs = np.column_stack([x, np.full(len(x), second)])
        weights, intercepts = pairs[:, :n_weights], pairs[:, n_weights:].sum(axis=1)
        outputs = features @ weights.T + intercepts
        found[i] = _mean_losses(subject, data, outputs) + _penalties(subject, weights)
    return np.where(np.isfinite(found), found, np.nan)


def _mean_losses(subject: Subject, data: Data, outputs: Floats) -> Floats:
    """The mean over the rows of the losses of outputs (m, g): (g,)."""
    every = torch.from_numpy(outputs.T.reshape(-1, 1))
    targets = torch.from_numpy(data.y).repeat(outputs.shape[1], 1)
    losses = subject.fitted.spec.loss.of_samples(every, targets).numpy().reshape(-1, len(outputs))
    if data.weight is None:
        means: Floats = losses.mean(axis=1)
        return means
    # Rows that all count nothing have no loss.
    return np.asarray(losses @ data.weight / (data.weight.sum() or 1.0))


def _penalties(subject: Subject, weights: Floats) -> Floats:
    """Those of weights (g, d): (g,); a factor of 0 takes no part, whatever the weights."""
    l1, l2 = subject.fitted.spec.penalty.l1, subject.fitted.spec.penalty.l2
    penalties = np.zeros(len(weights))
    if l1:
        penalties += l1 * np.abs(weights).sum(axis=1)
    if l2:
        penalties += l2 * (weights**2).sum(axis=1)
    return penalties


def _draw_losses(axes: Axes, x: Floats, y: Floats, losses: Floats) -> None:
    levels = _levels(losses)
    if len(levels) < 3:  # noqa: PLR2004
        # What is flat all over has no contours.
        axes.set_xlim(x[0], x[-1])
        axes.set_ylim(y[0], y[-1])
        return
    shown = np.ma.masked_invalid(drawable(losses))
    norm = BoundaryNorm(levels, 256)
    filled = axes.contourf(x, y, shown, levels, cmap="viridis", norm=norm)
    axes.contour(x, y, shown, levels, colors="white", linewidths=0.4, alpha=0.5)
    # Of levels that are the same when they are written down one is enough.
    named = {number(level): level for level in levels[:: _N_LEVELS // 5]}
    bar = axes.figure.colorbar(filled, ax=axes, ticks=list(named.values()))
    bar.set_ticklabels(list(named))
    bar.set_label("training loss")


def _levels(losses: Floats) -> Floats:
    """Levels from the lowest loss to the highest one, ascending."""
    finite = drawable(losses[np.isfinite(losses)])
    if not len(finite):
        return finite
    low, high = finite.min(), finite.max()
    span = high - low
    share = min(_LOWEST_SHARE, low / span) if low > 0 and span else _LOWEST_SHARE
    shares = np.geomspace(max(share, _LEAST_SHARE), 1, _N_LEVELS)
    return np.unique(low + span * np.array([0, *shares]))


def _draw_ways(axes: Axes, ways: list[Floats], *, recorded: bool) -> None:
    way, final = ways
    edge: dict[str, Any] = {"markeredgecolor": "white", "color": _PATH, "linestyle": "none"}
    if len(way) > 1:
        kept = way[thin(len(way), _MOST_DRAWN_STEPS)]
        style, label = ("-", "path") if recorded else (":", "start → end")
        axes.plot(*kept.T, color=_PATH, linestyle=style, linewidth=1.5, label=label)
        axes.plot(*way[:1].T, marker="o", markersize=8, label="start", **edge)
    axes.plot(*final.T, marker="*", markersize=14, label="end", **edge)

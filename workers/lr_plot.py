"""The picture of a learning-rate range test."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

_COLORS = {"steepest": "tab:red", "valley": "tab:green"}


def draw_lr(
    axes: Axes,
    lr: NDArray[np.float64],
    loss: NDArray[np.float64],
    raw_loss: NDArray[np.float64],
    suggestion: Mapping[str, float] | None,
    *,
    is_logarithmic: bool = True,
) -> None:
    """The smoothed losses over the rates, those before smoothing faintly, and the suggestions.

    lr, loss, raw_loss: (m,) float64, finite, in the order of the iterations. A suggestion is one
    of the rates by its rule's name, and is marked on the smoothed curve.
    """
    axes.plot(lr, raw_loss, label="loss", color="tab:blue", linewidth=1, alpha=0.3)
    axes.plot(lr, loss, label="smoothed loss", color="tab:blue", linewidth=1.5)
    for name, rate in (suggestion or {}).items():
        _mark(axes, rate, float(np.interp(rate, lr, loss)), name)
    if is_logarithmic:
        axes.set_xscale("log")
    _look_at(axes, np.concatenate([loss[:-1], raw_loss[:-1]]))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.set_title("Learning-rate range test")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()


def _mark(axes: Axes, lr: float, loss: float, name: str) -> None:
    look: dict[str, Any] = {"color": _COLORS.get(name, "tab:gray")}
    axes.axvline(lr, linestyle=":", linewidth=1, **look)
    axes.plot([lr], [loss], label=f"{name}: {lr:.3g}", marker="o", linestyle="none", **look)


def _look_at(axes: Axes, seen: NDArray[np.float64]) -> None:
    """Show all but the last losses, which may be so high that the rest would be flat."""
    if not len(seen) or seen.min() == seen.max():
        return
    margin = 0.05 * (seen.max() - seen.min())
    axes.set_ylim(seen.min() - margin, seen.max() + margin)

"""The learning rates that the curve of a range test suggests."""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# What is left out: the loss settles at the start of a curve, and leaves every bound at its end.
_SKIP_START = 10
_SKIP_END = 5
_FEWEST_KEPT = 2


def fewest_points(num_iter: int) -> int:
    """The points that both rules need, of a test that had `num_iter` iterations to make."""
    return max(_SKIP_START, num_iter // 10) + _SKIP_END + _FEWEST_KEPT


def steepest(lr: Floats, loss: Floats) -> float:
    """The rate of the point at which the loss falls the most, from a point to the next.

    As `plot` of torch-lr-finder 0.2.2 suggests it, and without the first 10 points and the last 5:
    the least of numpy's `gradient` over the points' numbers, not over the rates. lr, loss: (m,)
    float64, finite; at least `fewest_points`.
    """
    kept = slice(_SKIP_START, -_SKIP_END)
    with np.errstate(over="ignore"):
        slopes = np.gradient(loss[kept])
    return float(lr[kept][slopes.argmin()])


def valley(lr: Floats, loss: Floats, num_iter: int) -> float:
    """The rate halfway down the longest valley.

    As `valley` of fastai's callback.schedule on what its `lr_find` hands over: without the first
    tenth of the iterations and the last 5 points. A valley is a subsequence of ever smaller
    losses. Of the longest one, or the first of them, with n points and its last at e, the rate is
    that of point e - n + ⌊n/3⌋ + ⌊n/6⌋, and not before the first one. lr, loss: (m,) float64,
    finite; at least `fewest_points`.
    """
    kept = slice(num_iter // 10, -_SKIP_END)
    n, end = 0, 0
    # The highest floor of the valleys of each length, negated, so that they ascend.
    floors: list[float] = []
    for point, height in enumerate(loss[kept].tolist()):
        above = bisect_left(floors, -height)
        floors[above : above + 1] = [-height]
        if above + 1 > n:
            n, end = above + 1, point
    return float(lr[kept][max(0, end - n + n // 3 + n // 6)])

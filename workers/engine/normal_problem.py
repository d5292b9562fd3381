"""What the compiled loop of full-batch least squares is given, on a triangle of its rows.

Arrays over parameters are those of all targets, one target's p after the other's: (k·p,).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Quadratic(NamedTuple):
    """A mean loss: rest + Σ(offset + triangle·(w - origin))²/k, target by target.

    `triangle` (p, p) is zero below its diagonal, `transposed` is its transpose, offset (k, p). The
    loss is a sum over `n_values`; there are no rows where that is 0.
    """

    triangle: Floats
    transposed: Floats
    offset: Floats
    rest: float
    n_values: float


class Penalty(NamedTuple):
    """What is added for each target's first `n_features` weights: l1 here, l2 in the triangle."""

    n_features: int
    l1: float
    l2: float


class Rounding(NamedTuple):
    """What another order of sums may add to a gradient: slope (k·p,) times a target's size.

    That size is `base` (k,), of its numbers before step 0, and Σ norm·|w|, norm (p,) being those
    of the features. A loss grows by the share `loss`. All of them 0 but in a rehearsal.
    """

    slope: Floats
    base: Floats
    norm: Floats
    loss: float


class Rule(NamedTuple):
    """An optimizer by its number in `normal_loops`, and its arguments by torch's names.

    What one calls `alpha` or `rho` and another the second of `betas` is `beta2`. Those that a
    schedule moves are none of it; `largest` is the largest number of the fit's dtype.
    """

    kind: int
    maximize: bool
    weight_decay: float
    decoupled: bool
    dampening: float
    nesterov: bool
    beta2: float
    eps: float
    amsgrad: bool
    centered: bool
    lr_decay: float
    momentum_decay: float
    lambd: float
    alpha: float
    t0: float
    etaminus: float
    etaplus: float
    least_step: float
    most_step: float
    largest: float


class Ends(NamedTuple):
    """What ends a fit. Without clipping, tolerance or patience they are infinite, 0 and below 0.

    Nothing that a loss of at most `sure_loss` is made of is past `largest`, the dtype's.
    """

    clip_grad_norm: float
    tolerance: float
    largest: float
    sure_loss: float
    patience: int
    min_delta: float
    monitors_train: bool
    keeps_best: bool


class Plateau(NamedTuple):
    """torch's ReduceLROnPlateau; `sign` is -1 where more is better; it moves where `moves`."""

    moves: bool
    sign: float
    relative: bool
    threshold: float
    factor: float
    patience: float
    cooldown: float
    min_lr: float
    eps: float
    monitors_train: bool


class State(NamedTuple):
    """What a step changes.

    weights, mean, square, other (k·p,): the parameters and the optimizer's buffers; torch's names
    for these are in `workers.engine.normal_state`. counts (5,): the updates, NAdam's mu_product,
    ASGD's eta and mu, and whether SGD's momentum holds something. gradient, direction, candidate
    (k·p,) and residual (k, p) are those of the last step. best (k·p,) are the best epoch's weights,
    and watch (3,) its loss, the epochs since then, and whether there is one. plateau (4,): the
    rate, the best loss, the bad ones since, and what is left of the cooldown.
    """

    weights: Floats
    mean: Floats
    square: Floats
    other: Floats
    counts: Floats
    gradient: Floats
    direction: Floats
    candidate: Floats
    residual: Floats
    best: Floats
    watch: Floats
    plateau: Floats


class Record(NamedTuple):
    """Where the history goes: the arrays of `workers.engine.trace.Trace`."""

    loss: Floats
    grad_norm: Floats
    lr: Floats
    epoch_sums: Floats
    validation_loss: Floats
    every: int


class Span(NamedTuple):
    """The steps to make, from `first` on: a rate and a momentum for each, (n,)."""

    first: int
    lr: Floats
    momentum: Floats


class Outcome(NamedTuple):
    """How far `descend` came: updates done, losses entered since step 0, the last one, and why."""

    n_steps: int
    n_losses: int
    last_loss: float
    last_lr: float
    why: int


class Problem(NamedTuple):
    """A whole fit but for its steps: losses around `origin` (k·p,), the rule, what ends it."""

    train: Quadratic
    held_out: Quadratic
    origin: Floats
    penalty: Penalty
    rounding: Rounding
    rule: Rule
    ends: Ends
    plateau: Plateau

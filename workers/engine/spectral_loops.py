"""The compiled loop of full-batch least squares: one or two numbers a coordinate and step.

Arrays over coordinates are those of all targets, one target's p after the other's: (k·p,).
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import (
    compiled_to_the_letter,
    inlined_to_the_letter,
    internal_to_the_letter,
)
from workers.engine.spectrum_loops import Spectrum

Floats = NDArray[np.float64]

# Why the loop ended.
DONE, FAILED, AT_REST, NO_BETTER = range(4)
# What torch adds to a norm before it divides by it.
CLIPPING = 1e-6


class State(NamedTuple):
    """What a step changes.

    place, pull and velocity (2·k·p,): an even step leads from the first half to the second, an odd
    one back, so that one that fails leaves what was before it. direction (k·p,) is that of the last
    step, and last_pull (k·p,) its gradient's pull where `keeps_pull`. best (k·p,) is the best
    epoch's place, and watch (3,) its loss, the epochs since then, and whether there is one.
    """

    place: Floats
    pull: Floats
    velocity: Floats
    direction: Floats
    last_pull: Floats
    best: Floats
    watch: Floats
    keeps_pull: bool


class Curve(NamedTuple):
    """The loss: rest + Σ pull²/k, where pull = pull₀ + scale·place; its gradient: slope·pull.

    Weights are origin + place·axes, target by target: axes (p, p), a row a coordinate. `turned` is
    the origin in coordinates. The last of a target's weights is a bias where `has_bias`. The mean
    loss is a sum over `n_values`.
    """

    scale: Floats
    slope: Floats
    turned: Floats
    origin: Floats
    axes: Floats
    rest: float
    l2: float
    n_values: float
    n_targets: int
    has_bias: bool


class HeldOut(NamedTuple):
    """The loss on held-out rows: rest + Σ(offset + place·matrix)²/k, target by target.

    matrix (p, m), offset (k, m); there are no such rows where n_values is 0.
    """

    matrix: Floats
    offset: Floats
    rest: float
    n_values: float


class Rule(NamedTuple):
    """torch.optim.SGD's arguments but for those that a schedule moves, and what ends a fit.

    Without clipping `clip_grad_norm` is infinite, without a tolerance it is 0, and without early
    stopping the patience is below 0. A gradient whose norm is `sure_tolerance` has an entry of at
    least `tolerance`: its share where all are alike.
    """

    dampening: float
    weight_decay: float
    nesterov: bool
    clip_grad_norm: float
    tolerance: float
    sure_tolerance: float
    largest: float
    patience: int
    min_delta: float
    monitors_train: bool
    keeps_best: bool


class Record(NamedTuple):
    """Where the history goes: the arrays of `workers.engine.trace.Trace`."""

    loss: Floats
    grad_norm: Floats
    epoch_sums: Floats
    validation_loss: Floats
    every: int


class Span(NamedTuple):
    """The steps to make, from `first` on: a rate and a momentum for each, (n,)."""

    first: int
    lr: Floats
    momentum: Floats


class Outcome(NamedTuple):
    """How far `descend` came: updates done, losses entered since step 0, the last one, and why.

    `moving` says whether the velocity holds something.
    """

    n_steps: int
    n_losses: int
    last_loss: float
    why: int
    moving: bool


class Coordinate(NamedTuple):
    """What the curve and the state have of a coordinate: a number each, or a line of lanes."""

    scale: Any
    slope: Any
    turned: Any
    place: Any
    pull: Any
    velocity: Any


class _Step(NamedTuple):
    """An update: from one half of the state's arrays to the other, by a share of the gradient."""

    now: int
    then: int
    share: float
    lr: float
    momentum: float
    moving: bool


@compiled_to_the_letter
def curve_of(
    spectrum: Spectrum, coefficients: Floats, n_values: float, l2: float, has_bias: bool
) -> Curve:
    """The loss around coefficients (k, p), the bias last."""
    n_targets, width = coefficients.shape
    scale, slope = np.empty(n_targets * width), np.empty(n_targets * width)
    for target in range(n_targets):
        for i in range(width):
            scale[target * width + i] = spectrum.scale[i]
            slope[target * width + i] = 2.0 / n_targets * spectrum.scale[i]
    return Curve(
        scale=scale,
        slope=slope,
        turned=(coefficients @ spectrum.basis).ravel(),
        origin=coefficients.ravel().copy(),
        axes=np.ascontiguousarray(spectrum.basis.T),
        rest=spectrum.rest,
        l2=l2,
        n_values=n_values,
        n_targets=n_targets,
        has_bias=has_bias,
    )


@compiled_to_the_letter
def turn(axes: Floats, place: Floats) -> Floats:
    """From coordinates (k·p,) around a point to weights around it."""
    size = len(axes)
    turned = np.zeros(len(place))
    for target in range(0, len(place), size):
        for i in range(size):
            for j in range(size):
                turned[target + j] += place[target + i] * axes[i, j]
    return turned


@compiled_to_the_letter
def descend(  # noqa: PLR0917 (a tuple of tuples would be taken apart at every step)
    curve: Curve,
    held_out: HeldOut,
    rule: Rule,
    state: State,
    record: Record,
    span: Span,
    moving: bool,
) -> Outcome:
    """Make the span's updates, or fewer where one ends the fit.

    The halves of the state, what it watches and `moving` are all that goes from one call to the
    next.
    """
    size, first = len(curve.scale), span.first
    # Below these, nothing that a step makes can be past the dtype's range.
    surely = rule.largest / math.sqrt(len(curve.axes))
    sure_loss = sure_loss_of(rule, curve.l2, curve.n_values)
    now = first % 2 * size
    # Divisions take longer than a step of two coordinates.
    row, due = -(-first // record.every), -first % record.every
    squares, norm_squares = _sums(curve, state, now)
    last_loss = math.nan
    for t in range(len(span.lr)):
        step = first + t
        loss = curve.rest + squares / curve.n_targets
        if not loss <= sure_loss and not _is_finite(curve, rule, state, loss, now):
            return Outcome(step, step, last_loss, FAILED, moving)
        grad_norm = math.sqrt(norm_squares)
        if grad_norm < rule.sure_tolerance and _is_at_rest(curve, rule, state, now):
            return Outcome(step, step, last_loss, AT_REST, moving)
        last_loss = loss
        record.epoch_sums[step] = loss
        if due == 0:
            record.loss[row] = loss
            record.grad_norm[row] = grad_norm
            row, due = row + 1, record.every
        due -= 1
        if state.keeps_pull:
            _copy(state.pull, now, state.last_pull)
        share = 1.0
        if grad_norm + CLIPPING > rule.clip_grad_norm:
            share = rule.clip_grad_norm / (grad_norm + CLIPPING)
        then = size - now
        made = _Step(now, then, share, span.lr[t], span.momentum[t], moving)
        squares, norm_squares, near = _update(curve, rule, state, made, surely)
        if not near and not _fits(curve, rule, state, then):
            return Outcome(step, step + 1, last_loss, FAILED, moving)
        moving = moving or span.momentum[t] != 0.0
        now = then
        if held_out.n_values > 0.0:
            record.validation_loss[step] = _held_out_loss(curve, held_out, rule, state, now)
        if rule.patience >= 0 and _is_no_better(rule, state, record, step, now):
            return Outcome(step + 1, step + 1, last_loss, NO_BETTER, moving)
    stop = first + len(span.lr)
    return Outcome(stop, stop, last_loss, DONE, moving)


@inlined_to_the_letter
def sure_loss_of(rule: Rule, l2: float, n_values: float) -> float:
    """Up to which a loss is surely made of numbers of the dtype."""
    return min(1.0, l2 or 1.0) * (rule.largest / max(1.0, n_values))


@inlined_to_the_letter
def moved(  # noqa: PLR0917 (lanes have a rate each, and all else alike)
    at: Coordinate, rule: Rule, share: float, lr: Any, momentum: float, moving: bool
) -> tuple[Any, Any, Any, Any]:
    """The place, pull and velocity after an update as torch.optim.SGD makes it, and its direction.

    `share` is that of the gradient, `moving` says whether the velocity holds something.
    """
    direction = share * (at.slope * at.pull)
    direction = direction + rule.weight_decay * (at.turned + at.place)
    velocity = at.velocity
    if momentum != 0.0:
        kept = momentum * velocity + (1.0 - rule.dampening) * direction
        velocity = kept if moving else direction
        direction = direction + momentum * velocity if rule.nesterov else velocity
    move = lr * direction
    return at.place - move, at.pull - at.scale * move, velocity, direction


@inlined_to_the_letter
def _copy(source: Floats, first: int, target: Floats) -> None:
    """The target's length from `first` on; an assignment would compile numba's errors of shapes."""
    for i in range(len(target)):
        target[i] = source[first + i]


@inlined_to_the_letter
def _sums(curve: Curve, state: State, now: int) -> tuple[float, float]:
    """The sums of squares of the pull, and of the gradient."""
    squares = 0.0
    norm_squares = 0.0
    for i in range(len(curve.scale)):
        pull = state.pull[now + i]
        squares += pull * pull
        gradient = curve.slope[i] * pull
        norm_squares += gradient * gradient
    return squares, norm_squares


@inlined_to_the_letter
def _update(
    curve: Curve, rule: Rule, state: State, step: _Step, surely: float
) -> tuple[float, float, bool]:
    """The sums of squares after one update, as `_sums`, and whether none is beyond `surely`."""
    squares = 0.0
    norm_squares = 0.0
    near = True
    for i in range(len(curve.scale)):
        at = Coordinate(
            curve.scale[i],
            curve.slope[i],
            curve.turned[i],
            state.place[step.now + i],
            state.pull[step.now + i],
            state.velocity[step.now + i],
        )
        place, pull, velocity, direction = moved(
            at, rule, step.share, step.lr, step.momentum, step.moving
        )
        state.velocity[step.then + i] = velocity
        state.direction[i] = direction
        state.place[step.then + i] = place
        state.pull[step.then + i] = pull
        squares += pull * pull
        gradient = curve.slope[i] * pull
        norm_squares += gradient * gradient
        near = near and abs(direction) <= surely and abs(curve.turned[i] + place) <= surely
    return squares, norm_squares, near


@internal_to_the_letter
def _fits(curve: Curve, rule: Rule, state: State, now: int) -> bool:
    """Whether the last direction and the weights after it are numbers of the dtype."""
    direction = turn(curve.axes, state.direction)
    weights = turn(curve.axes, state.place[now : now + len(curve.scale)])
    fits = True
    for i in range(len(weights)):
        weight = curve.origin[i] + weights[i]
        fits = fits and abs(direction[i]) <= rule.largest and abs(weight) <= rule.largest
    return fits


@internal_to_the_letter
def _is_finite(curve: Curve, rule: Rule, state: State, loss: float, now: int) -> bool:
    """Whether the loss, and the sums that it is made of, are numbers of the dtype."""
    if curve.l2 == 0.0:
        return loss * curve.n_values <= rule.largest
    weights = turn(curve.axes, state.place[now : now + len(curve.scale)])
    size = len(curve.axes)
    squares = 0.0
    for i in range(len(weights)):
        if not (curve.has_bias and i % size == size - 1):
            weight = curve.origin[i] + weights[i]
            squares += weight * weight
    penalty = curve.l2 * squares
    if not (squares <= rule.largest and penalty <= rule.largest):
        return False
    return (loss - penalty) * curve.n_values <= rule.largest


@internal_to_the_letter
def _is_at_rest(curve: Curve, rule: Rule, state: State, now: int) -> bool:
    """Whether the gradient's largest entry is below the tolerance."""
    pulled = np.empty(len(curve.scale))
    for i in range(len(pulled)):
        pulled[i] = curve.slope[i] * state.pull[now + i]
    gradient = turn(curve.axes, pulled)
    is_small = True
    for i in range(len(gradient)):
        is_small = is_small and abs(gradient[i]) < rule.tolerance
    return is_small


@inlined_to_the_letter
def _held_out_loss(curve: Curve, held_out: HeldOut, rule: Rule, state: State, now: int) -> float:
    size = len(curve.axes)
    squares = 0.0
    for target in range(curve.n_targets):
        residual = held_out.offset[target].copy()
        for i in range(size):
            place = state.place[now + target * size + i]
            for j in range(len(residual)):
                residual[j] += place * held_out.matrix[i, j]
        for j in range(len(residual)):
            squares += residual[j] * residual[j]
    loss = held_out.rest + squares / curve.n_targets
    return loss if loss * held_out.n_values <= rule.largest else math.inf


@inlined_to_the_letter
def _is_no_better(rule: Rule, state: State, record: Record, step: int, now: int) -> bool:
    """Look at the epoch's loss, as `workers.engine.early_stopping.Patience`."""
    loss = record.validation_loss[step]
    if rule.monitors_train:
        loss = record.epoch_sums[step]
    if loss < state.watch[0] - rule.min_delta:
        state.watch[0] = loss
        state.watch[1] = 0.0
        if rule.keeps_best:
            state.watch[2] = 1.0
            _copy(state.place, now, state.best)
    else:
        state.watch[1] += 1.0
    return bool(state.watch[1] >= rule.patience)

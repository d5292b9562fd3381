"""Compiled loops of gradient descent.

A batch is taken tile by tile, `workers.engine.kernel_rows`; each is carried through the layers and
back, `kernel_layers`, past a loss, `kernel_losses`; then the parameters are updated by a rule,
`kernel_rules`. Everything is computed in the fit's precision, but sums of losses in float64.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import borrowed, compiled, inlined
from workers.engine.kernel_codes import ACTIVATION_CODES, LOSS_CODES
from workers.engine.kernel_layers import Plan, backward, forward, gather_gradient
from workers.engine.kernel_losses import Floats, Loss, Room, Tile, add_up_losses
from workers.engine.kernel_products import Numbers, total_of_squares
from workers.engine.kernel_rows import Part, Rows, features_at, laid, lay_tile, total_weight
from workers.engine.kernel_rules import Buffers, Move, Rule, update

_IDENTITY = ACTIVATION_CODES["identity"]
_CROSS_ENTROPY = LOSS_CODES["cross_entropy"]
# As in torch.nn.utils.clip_grad_norm_.
_CLIP_FLOOR = 1e-6

# Why the loop ended before its span did.
FAILED, AT_REST, PAUSED = 1, 2, 3


class Problem(NamedTuple):
    """What is descended, and by which rule.

    l1 and l2 are the penalty's factors; a gradient longer than `clip`, where that is above 0, is
    shortened to it; one whose entries are all smaller than `tolerance` ends the descent. `largest`
    is the precision's largest number.
    """

    plan: Plan
    loss: Loss
    rule: Rule
    l1: float
    l2: float
    clip: float
    tolerance: float
    largest: float


class State(NamedTuple):
    """All that a step changes: the fit's numbers, the rule's buffers, and scratch room.

    n_updates (1,) counts the rule's updates, of earlier fits too; is_moving (1,) says whether its
    momentum has something to go on from. under_way (2,): the rows of a batch that have been
    evaluated before a pause, and the sum of their losses.
    """

    numbers: Numbers
    buffers: Buffers
    room: Room
    n_updates: Floats
    is_moving: NDArray[np.bool_]
    under_way: Floats


class Record(NamedTuple):
    """Where the history goes: the arrays of `workers.engine.trace.Trace`."""

    loss: Floats
    grad_norm: Floats
    lr: Floats
    epoch_sums: Floats
    every: int


class Span(NamedTuple):
    """The steps to make, [first, stop), of `per_epoch` batches of `size` rows an epoch.

    Step 0 is the batch of this `position`, counted from the beginning of its epoch. lr and
    momentum have a number for each step, or one for all. Past `most_rows` of a batch, whole tiles,
    there is a pause.
    """

    first: int
    stop: int
    position: int
    size: int
    per_epoch: int
    most_rows: int
    lr: Floats
    momentum: Floats


class Outcome(NamedTuple):
    """How far `descend` came: updates done, losses entered since step 0, the last one, and why."""

    n_steps: int
    n_losses: int
    last_loss: float
    end: int


@compiled
def descend(rows: Rows, problem: Problem, state: State, record: Record, span: Span) -> Outcome:
    """Make the span's updates, or fewer: ended by the first number that is not finite, or at rest.

    The state is all that goes from one call to the next: after a pause, the same steps go on where
    it came. A span without steps changes nothing: its last loss is the first batch's.
    """
    rows, problem, state = borrowed(rows), borrowed(problem), borrowed(state)
    record, span = borrowed(record), borrowed(span)
    plan, n_rows = problem.plan, rows.n_rows
    gradient = state.numbers[plan.gradient_at : plan.gradient_at + plan.n_parameters]
    parameters = state.numbers[plan.parameters_at : plan.parameters_at + plan.n_parameters]
    last_loss = math.nan
    downhill = span.first < span.stop
    batch = (span.position + span.first) % span.per_epoch
    for step in range(span.first, max(span.stop, span.first + 1)):
        first = batch * span.size
        stop = min(first + span.size, n_rows)
        batch = batch + 1 if batch + 1 < span.per_epoch else 0
        part = Part(first, stop, downhill)
        paused, loss = _evaluate(rows, problem, state, part, span.most_rows)
        if paused:
            return Outcome(step, step, last_loss, PAUSED)
        if problem.l1 != 0.0 or problem.l2 != 0.0:
            loss += _penalize(problem, parameters, gradient, downhill)
        if not downhill:
            return Outcome(step, step, loss, 0)
        if not loss <= problem.largest:
            return Outcome(step, step, last_loss, FAILED)
        if problem.tolerance > 0.0 and _largest_size(gradient) < problem.tolerance:
            return Outcome(step, step, last_loss, AT_REST)
        last_loss = loss
        squares = total_of_squares(gradient)
        # The precision has no larger square.
        norm = math.sqrt(squares) if squares <= problem.largest else math.inf
        _enter(record, span, step, (loss, norm, stop - first))
        move = _move(problem, state, span, step, norm)
        if not update(problem.rule, parameters, gradient, state.buffers, move):
            return Outcome(step, step + 1, last_loss, FAILED)
        state.n_updates[0] += 1.0
    return Outcome(span.stop, span.stop, last_loss, 0)


@inlined
def _evaluate(
    rows: Rows, problem: Problem, state: State, part: Part, most_rows: int
) -> tuple[bool, float]:
    """The mean loss over the part of the rows; its gradient too, where that is asked for.

    True beside a loss that means nothing where it pauses after `most_rows`: then the next call goes
    on there.
    """
    plan, numbers = problem.plan, state.numbers
    first = part.first + int(state.under_way[0])
    stop = min(part.stop, first + most_rows)
    n_outputs = plan.widths[-1]
    n_values = total_weight(rows, problem.loss, part.first, part.stop)
    if problem.loss.kind != _CROSS_ENTROPY:
        n_values *= n_outputs
    summed = state.under_way[1]
    for begin in range(first, stop, plan.step):
        n = min(plan.step, stop - begin)
        place = laid(rows, plan, begin // plan.step)
        if not rows.resident:
            lay_tile(rows, plan, numbers, place, Part(begin, begin + n, part.downhill))
        forward(plan, numbers, place.columns_at, n)
        slopes_at = plan.slopes_at[-1] if plan.output == _IDENTITY else plan.pull_at
        tile = Tile(
            plan.values_at[-1], place.targets_at, place.weights_at, slopes_at, plan.step,
            n_outputs, n,
        )  # fmt: skip
        summed += add_up_losses(problem.loss, numbers, tile, 1.0 / n_values, state.room)
        if part.downhill:
            inputs = (features_at(rows, begin), rows.row_step)
            backward(plan, numbers, inputs, n, begin == part.first)
    paused = stop < part.stop
    state.under_way[0] = float(stop - part.first) if paused else 0.0
    state.under_way[1] = summed if paused else 0.0
    if part.downhill and not paused:
        gather_gradient(plan, numbers)
    # In the fit's precision so large a sum would be infinite.
    return paused, math.inf if summed > problem.largest else summed / n_values


@inlined
def _penalize(problem: Problem, parameters: Numbers, gradient: Numbers, downhill: bool) -> float:
    """The penalty of the weights; its slopes are added to the gradient where it goes downhill."""
    plan = problem.plan
    sizes = squares = 0.0
    for layer in range(len(plan.weights_at)):
        at = plan.weights_at[layer]
        for i in range(at, at + plan.widths[layer] * plan.widths[layer + 1]):
            weight = np.float64(parameters[i])
            sizes += abs(weight)
            squares += weight * weight
            side = 1.0 if weight > 0.0 else (-1.0 if weight < 0.0 else 0.0)
            if downhill:
                gradient[i] += problem.l1 * side + 2.0 * problem.l2 * weight
    # A factor of 0 takes no part, for 0 times infinity is no number.
    l1 = problem.l1 * sizes if problem.l1 != 0.0 else 0.0
    return l1 + (problem.l2 * squares if problem.l2 != 0.0 else 0.0)


@inlined
def _largest_size(gradient: Numbers) -> float:
    largest = 0.0
    for i in range(len(gradient)):
        size = abs(np.float64(gradient[i]))
        # What is not a number is larger than any.
        largest = size if size > largest or math.isnan(size) else largest
    return largest


@inlined
def _enter(record: Record, span: Span, step: int, measured: tuple[float, float, int]) -> None:
    loss, norm, n_rows = measured
    epoch = (span.position + step) // span.per_epoch
    record.epoch_sums[epoch] += loss * n_rows / span.size
    if step % record.every == 0:
        place = step // record.every
        record.loss[place] = loss
        record.grad_norm[place] = norm
        record.lr[place] = _at_step(span, span.lr, step)


@inlined
def _at_step(span: Span, rates: Floats, step: int) -> float:
    return float(rates[step - span.first] if len(rates) > 1 else rates[0])


@inlined
def _move(problem: Problem, state: State, span: Span, step: int, norm: float) -> Move:
    """The step's update; a long gradient is shortened as torch.nn.utils.clip_grad_norm_ does."""
    scale = min(problem.clip / (norm + _CLIP_FLOOR), 1.0) if problem.clip > 0.0 else 1.0
    momentum = _at_step(span, span.momentum, step)
    is_first = not state.is_moving[0]
    state.is_moving[0] = state.is_moving[0] or momentum != 0.0
    number, lr = state.n_updates[0] + 1.0, _at_step(span, span.lr, step)
    return Move(number, lr, momentum, problem.rule.sign * scale, is_first)

"""Losses of a tile's predictions, with their derivatives, by torch's definitions."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import inlined, internal
from workers.engine.kernel_codes import LOSS_CODES
from workers.engine.kernel_functions import exponential, log_of_one_or_more, log_plus_one
from workers.engine.kernel_products import Numbers, total

_MSE = LOSS_CODES["mse"]
_MAE = LOSS_CODES["mae"]
_HUBER = LOSS_CODES["huber"]
_SMOOTH_L1 = LOSS_CODES["smooth_l1"]
_QUANTILE = LOSS_CODES["quantile"]
_POISSON = LOSS_CODES["poisson"]
_BCE = LOSS_CODES["bce"]
_HINGE = LOSS_CODES["hinge"]
_CROSS_ENTROPY = LOSS_CODES["cross_entropy"]

Floats = NDArray[np.float64]


class Loss(NamedTuple):
    """A loss by its number in `LOSS_CODES`, and its argument: delta, beta, q, pos_weight, …

    `class_weight` (c,) is read by the cross entropy alone, whose argument is `label_smoothing`;
    where `counts`, a sample counts as much as its class's says.
    """

    kind: int
    argument: float
    class_weight: Floats
    counts: bool


class Tile(NamedTuple):
    """Where a tile's predictions (k, n), targets (k, n) or (1, n), and weights (n,) lie.

    The derivatives (k, n) go to `slopes_at`; `step` numbers lie from a row to the next.
    """

    predictions_at: int
    targets_at: int
    weights_at: int
    slopes_at: int
    step: int
    n_outputs: int
    n: int


class Room(NamedTuple):
    """Scratch room for each sample's loss, and for two numbers more: (m,) each."""

    losses: Floats
    logs: Floats
    sums: Floats


@inlined
def add_up_losses(loss: Loss, numbers: Numbers, tile: Tile, share: float, room: Room) -> float:
    """The sum of the weighted losses; the derivatives are those of their `share`."""
    if loss.kind == _CROSS_ENTROPY:
        return _cross_entropy(loss, numbers, tile, share, room)
    n, step = tile.n, tile.step
    weights = numbers[tile.weights_at : tile.weights_at + n]
    summed = 0.0
    for k in range(tile.n_outputs):
        at, targets_at = tile.predictions_at + k * step, tile.targets_at + k * step
        slopes_at = tile.slopes_at + k * step
        predictions, targets = numbers[at : at + n], numbers[targets_at : targets_at + n]
        slopes = numbers[slopes_at : slopes_at + n]
        _of_elements(loss, predictions, targets, room.losses, slopes)
        summed += _weigh(room.losses, slopes, weights, share)
    return summed


@inlined
def _weigh(losses: Floats, slopes: Numbers, weights: Numbers, share: float) -> float:
    for i in range(len(weights)):
        losses[i] *= weights[i]
        slopes[i] *= weights[i] * share
    return total(losses[: len(weights)])


@inlined
def _of_elements(
    loss: Loss, predictions: Numbers, targets: Numbers, losses: Floats, slopes: Numbers
) -> None:
    argument = loss.argument
    if loss.kind == _MSE:
        _mse(predictions, targets, losses, slopes)
    elif loss.kind == _MAE:
        _mae(predictions, targets, losses, slopes)
    elif loss.kind == _HUBER:
        _huber(predictions, targets, losses, slopes, argument)
    elif loss.kind == _SMOOTH_L1:
        _smooth_l1(predictions, targets, losses, slopes, argument)
    elif loss.kind == _QUANTILE:
        _quantile(predictions, targets, losses, slopes, argument)
    elif loss.kind == _POISSON:
        _poisson(predictions, targets, losses, slopes)
    elif loss.kind == _BCE:
        _bce(predictions, targets, losses, slopes, argument)
    else:
        _hinge(predictions, targets, losses, slopes)


@internal
def _mse(predictions: Numbers, targets: Numbers, losses: Floats, slopes: Numbers) -> None:
    for i in range(len(predictions)):
        gap = np.float64(predictions[i]) - np.float64(targets[i])
        losses[i] = gap * gap
        slopes[i] = 2.0 * gap


@internal
def _mae(predictions: Numbers, targets: Numbers, losses: Floats, slopes: Numbers) -> None:
    """No slope where the gap is 0."""
    for i in range(len(predictions)):
        gap = np.float64(predictions[i]) - np.float64(targets[i])
        losses[i] = abs(gap)
        slopes[i] = 1.0 if gap > 0.0 else (-1.0 if gap < 0.0 else gap)


@internal
def _huber(
    predictions: Numbers, targets: Numbers, losses: Floats, slopes: Numbers, delta: float
) -> None:
    for i in range(len(predictions)):
        gap = np.float64(predictions[i]) - np.float64(targets[i])
        size = abs(gap)
        losses[i] = delta * (size - 0.5 * delta) if size >= delta else 0.5 * gap * gap
        slopes[i] = delta if gap > delta else (-delta if gap < -delta else gap)


@internal
def _smooth_l1(
    predictions: Numbers, targets: Numbers, losses: Floats, slopes: Numbers, beta: float
) -> None:
    for i in range(len(predictions)):
        gap = np.float64(predictions[i]) - np.float64(targets[i])
        size = abs(gap)
        losses[i] = size - 0.5 * beta if size >= beta else 0.5 * gap * gap / beta
        slopes[i] = 1.0 if gap > beta else (-1.0 if gap < -beta else gap / beta)


@internal
def _quantile(
    predictions: Numbers, targets: Numbers, losses: Floats, slopes: Numbers, q: float
) -> None:
    """Half of both slopes where the gap is 0, as torch.maximum has it."""
    for i in range(len(predictions)):
        gap = np.float64(targets[i]) - np.float64(predictions[i])
        losses[i] = (q - 1.0) * gap if gap < 0.0 else q * gap
        slopes[i] = -q if gap > 0.0 else (1.0 - q if gap < 0.0 else 0.5 - q)


@internal
def _poisson(predictions: Numbers, targets: Numbers, losses: Floats, slopes: Numbers) -> None:
    for i in range(len(predictions)):
        prediction, target = np.float64(predictions[i]), np.float64(targets[i])
        rate = exponential(prediction)
        losses[i] = rate - target * prediction
        slopes[i] = rate - target


@internal
def _bce(
    predictions: Numbers, targets: Numbers, losses: Floats, slopes: Numbers, pos_weight: float
) -> None:
    for i in range(len(predictions)):
        odds, target = np.float64(predictions[i]), np.float64(targets[i])
        power = exponential(-abs(odds))
        share = 1.0 / (1.0 + power)
        second = share if odds >= 0.0 else power * share
        weight = 1.0 + (pos_weight - 1.0) * target
        losses[i] = (1.0 - target) * odds + weight * (log_plus_one(power) + max(-odds, 0.0))
        slopes[i] = weight * second - pos_weight * target


@internal
def _hinge(predictions: Numbers, targets: Numbers, losses: Floats, slopes: Numbers) -> None:
    """A slope where the loss is just 0, as torch.clamp has it."""
    for i in range(len(predictions)):
        side = 2.0 * targets[i] - 1.0
        short = 1.0 - side * predictions[i]
        losses[i] = 0.0 if short < 0.0 else short
        slopes[i] = 0.0 if short < 0.0 else -side


@internal
def _cross_entropy(loss: Loss, numbers: Numbers, tile: Tile, share: float, room: Room) -> float:
    """Σ q·(-log p), where q is 1 - ε at the sample's class and ε/c at all, times their weights."""
    n, step, n_classes = tile.n, tile.step, tile.n_outputs
    weights = numbers[tile.weights_at : tile.weights_at + n]
    smoothed = loss.argument / n_classes
    spread = smoothed * total(loss.class_weight)
    _sum_exponentials(numbers, tile, room)
    for i in range(n):
        own = int(numbers[tile.targets_at + i])
        sharp = (1.0 - loss.argument) * loss.class_weight[own]
        short = room.logs[i] - numbers[tile.predictions_at + own * step + i]
        room.losses[i] = weights[i] * sharp * short
        room.sums[i] = (sharp + spread) / room.sums[i]
    for k in range(n_classes):
        smooth = smoothed * loss.class_weight[k]
        at, slopes_at = tile.predictions_at + k * step, tile.slopes_at + k * step
        scores, slopes = numbers[at : at + n], numbers[slopes_at : slopes_at + n]
        if smooth > 0.0:
            for i in range(n):
                room.losses[i] += weights[i] * smooth * (room.logs[i] - scores[i])
        for i in range(n):
            slopes[i] = weights[i] * share * (slopes[i] * room.sums[i] - smooth)
    for i in range(n):
        own = int(numbers[tile.targets_at + i])
        sharp = (1.0 - loss.argument) * loss.class_weight[own]
        numbers[tile.slopes_at + own * step + i] -= weights[i] * share * sharp
    return total(room.losses[:n])


@internal
def _sum_exponentials(numbers: Numbers, tile: Tile, room: Room) -> None:
    """exp(score - largest score) in the place of the slopes; their sums, and log Σ exp(score)."""
    n, step = tile.n, tile.step
    largest, sums = room.logs[:n], room.sums[:n]
    for i in range(n):
        largest[i], sums[i] = -np.inf, 0.0
    for k in range(tile.n_outputs):
        at = tile.predictions_at + k * step
        scores = numbers[at : at + n]
        for i in range(n):
            largest[i] = scores[i] if scores[i] > largest[i] else largest[i]
    for k in range(tile.n_outputs):
        at, slopes_at = tile.predictions_at + k * step, tile.slopes_at + k * step
        scores, slopes = numbers[at : at + n], numbers[slopes_at : slopes_at + n]
        for i in range(n):
            power = exponential(np.float64(scores[i]) - largest[i])
            slopes[i] = power
            sums[i] += power
    for i in range(n):
        largest[i] += log_of_one_or_more(sums[i])

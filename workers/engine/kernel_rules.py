"""Updates of a flat vector of parameters from its gradient, by torch.optim's rules."""

import math
from typing import NamedTuple

from workers.engine.compiled import inlined, internal
from workers.engine.kernel_codes import RULE_CODES
from workers.engine.kernel_products import Numbers

_SGD = RULE_CODES["sgd"]
_ADAM = RULE_CODES["adam"]
_ADAMW = RULE_CODES["adamw"]
_RMSPROP = RULE_CODES["rmsprop"]


class Rule(NamedTuple):
    """A rule by its number in `RULE_CODES`, and its arguments by torch's names.

    What one rule calls `alpha` and another the second of `betas` is `beta2`; `sign` is -1 where the
    loss is climbed. The rate and the momentum, or the first of `betas`, come with each update:
    schedules move them.
    """

    kind: int
    sign: float
    weight_decay: float
    dampening: float
    nesterov: bool
    beta2: float
    eps: float
    amsgrad: bool
    centered: bool
    lr_decay: float


class Buffers(NamedTuple):
    """What a rule keeps from one update to the next, (p,) each, and room for the new parameters.

    `mean` is torch's momentum_buffer, exp_avg; `square` exp_avg_sq, square_avg, sum; `other`
    max_exp_avg_sq, grad_avg.
    """

    mean: Numbers
    square: Numbers
    other: Numbers
    candidate: Numbers


class Move(NamedTuple):
    """One update: its number from 1 on, the rate, the momentum, and what gradients are times.

    `first` says that a momentum has nothing to go on from.
    """

    number: float
    lr: float
    momentum: float
    scale: float
    first: bool


@inlined
def update(
    rule: Rule, parameters: Numbers, gradient: Numbers, buffers: Buffers, move: Move
) -> bool:
    """Update the parameters; false, and no update, where one of them would not be finite."""
    if rule.kind == _SGD:
        _sgd(rule, parameters, gradient, buffers, move)
    elif rule.kind in (_ADAM, _ADAMW):
        _adam(rule, parameters, gradient, buffers, move)
    elif rule.kind == _RMSPROP:
        _rmsprop(rule, parameters, gradient, buffers, move)
    else:
        _adagrad(rule, parameters, gradient, buffers, move)
    return _accept(parameters, buffers.candidate)


@inlined
def _accept(parameters: Numbers, candidate: Numbers) -> bool:
    n_unbounded = 0
    for i in range(len(parameters)):
        # The difference is none of an infinity, nor of what is not a number.
        n_unbounded += 0 if candidate[i] - candidate[i] == 0.0 else 1
    if n_unbounded:
        return False
    for i in range(len(parameters)):
        parameters[i] = candidate[i]
    return True


@inlined
def _sgd(rule: Rule, parameters: Numbers, gradient: Numbers, buffers: Buffers, move: Move) -> None:
    kind = parameters.dtype.type
    lr, scale, weight_decay = kind(move.lr), kind(move.scale), kind(rule.weight_decay)
    momentum, pulled = kind(move.momentum), kind(1.0 - rule.dampening)
    velocity, candidate = buffers.mean, buffers.candidate
    if move.momentum == 0.0:
        for i in range(len(parameters)):
            direction = scale * gradient[i] + weight_decay * parameters[i]
            candidate[i] = parameters[i] - lr * direction
        return
    if move.first:
        momentum, pulled = kind(0.0), kind(1.0)
    ahead = kind(move.momentum)
    for i in range(len(parameters)):
        direction = scale * gradient[i] + weight_decay * parameters[i]
        velocity[i] = momentum * velocity[i] + pulled * direction
        moved = direction + ahead * velocity[i] if rule.nesterov else velocity[i]
        candidate[i] = parameters[i] - lr * moved


@internal
def _adam(rule: Rule, parameters: Numbers, gradient: Numbers, buffers: Buffers, move: Move) -> None:
    kind = parameters.dtype.type
    decay = move.lr * rule.weight_decay if rule.kind == _ADAMW else 0.0
    kept, scale = kind(1.0 - decay), kind(move.scale)
    weight_decay = kind(0.0 if rule.kind == _ADAMW else rule.weight_decay)
    near, far = kind(1.0 - move.momentum), kind(1.0 - rule.beta2)
    beta2, eps = kind(rule.beta2), kind(rule.eps)
    step = kind(move.lr / (1.0 - move.momentum**move.number))
    spread = kind(1.0 / math.sqrt(1.0 - rule.beta2**move.number))
    mean, square, largest = buffers.mean, buffers.square, buffers.other
    for i in range(len(parameters)):
        g = scale * gradient[i] + weight_decay * parameters[i]
        m = mean[i] + near * (g - mean[i])
        v = beta2 * square[i] + far * (g * g)
        mean[i], square[i] = m, v
        if rule.amsgrad:
            v = largest[i] if largest[i] > v else v
            largest[i] = v
        buffers.candidate[i] = kept * parameters[i] - step * (m / (math.sqrt(v) * spread + eps))


@internal
def _rmsprop(
    rule: Rule, parameters: Numbers, gradient: Numbers, buffers: Buffers, move: Move
) -> None:
    kind = parameters.dtype.type
    lr, scale, weight_decay = kind(move.lr), kind(move.scale), kind(rule.weight_decay)
    alpha, far, eps = kind(rule.beta2), kind(1.0 - rule.beta2), kind(rule.eps)
    momentum = kind(move.momentum)
    velocity, square, mean = buffers.mean, buffers.square, buffers.other
    for i in range(len(parameters)):
        g = scale * gradient[i] + weight_decay * parameters[i]
        v = alpha * square[i] + far * (g * g)
        square[i] = v
        if rule.centered:
            mean[i] = mean[i] + far * (g - mean[i])
            v = v - mean[i] * mean[i]
        direction = g / (math.sqrt(v) + eps)
        if momentum > kind(0.0):
            direction = momentum * velocity[i] + direction
            velocity[i] = direction
        buffers.candidate[i] = parameters[i] - lr * direction


@internal
def _adagrad(
    rule: Rule, parameters: Numbers, gradient: Numbers, buffers: Buffers, move: Move
) -> None:
    kind = parameters.dtype.type
    lr = kind(move.lr / (1.0 + (move.number - 1.0) * rule.lr_decay))
    scale, weight_decay, eps = kind(move.scale), kind(rule.weight_decay), kind(rule.eps)
    square = buffers.square
    for i in range(len(parameters)):
        g = scale * gradient[i] + weight_decay * parameters[i]
        square[i] = square[i] + g * g
        buffers.candidate[i] = parameters[i] - lr * (g / (math.sqrt(square[i]) + eps))

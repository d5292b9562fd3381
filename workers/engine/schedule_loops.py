"""Compiled loops of the schedules whose rates follow from cosines and powers.

Each is torch.optim.lr_scheduler's own recurrence, operation by operation: closed forms round
otherwise, and past a cosine's first half-wave that grows with the square of its length.
"""

import math

import numpy as np
from numpy.typing import NDArray

from workers.engine.compiled import compiled_to_the_letter

Floats = NDArray[np.float64]
Moves = NDArray[np.int64]


@compiled_to_the_letter
def decay_polynomially(lr: float, moves: Moves, total_iters: int, power: float) -> Floats:
    """PolynomialLR's rates after each of the moves, from the rate before them."""
    rates = np.empty(len(moves))
    for i in range(len(moves)):
        if moves[i] <= total_iters:
            kept = 1.0 - moves[i] / total_iters
            lr *= (kept / (1.0 - (moves[i] - 1) / total_iters)) ** power
        rates[i] = lr
    return rates


@compiled_to_the_letter
def anneal(lr: float, moves: Moves, base_lr: float, eta_min: float, t_max: int) -> Floats:
    """CosineAnnealingLR's rates after each of the moves, from the rate before them."""
    rates = np.empty(len(moves))
    for i in range(len(moves)):
        if (moves[i] - 1 - t_max) % (2 * t_max) == 0:
            lr += (base_lr - eta_min) * (1.0 - math.cos(math.pi / t_max)) / 2.0
        else:
            height = 1.0 + math.cos(math.pi * moves[i] / t_max)
            before = 1.0 + math.cos(math.pi * (moves[i] - 1) / t_max)
            lr = height / before * (lr - eta_min) + eta_min
        rates[i] = lr
    return rates


@compiled_to_the_letter
def restart(place: Floats, length: Floats, base_lr: float, eta_min: float) -> Floats:
    """CosineAnnealingWarmRestarts' rates, by the place within each half-wave and its length."""
    rates = np.empty(len(place))
    for i in range(len(place)):
        height = 1.0 + math.cos(math.pi * place[i] / length[i])
        rates[i] = eta_min + (base_lr - eta_min) * height / 2.0
    return rates


@compiled_to_the_letter
def cycle_once(moves: Moves, ends: Floats, levels: Floats, cosine: bool) -> Floats:
    """What OneCycleLR moves between levels: phase i ends at ends[i], from levels[i] to the next."""
    moved = np.empty(len(moves))
    for i in range(len(moves)):
        phase, begin = 0, 0.0
        while phase < len(ends) - 1 and moves[i] > ends[phase]:
            begin = ends[phase]
            phase += 1
        share = (moves[i] - begin) / (ends[phase] - begin)
        start, end = levels[phase], levels[phase + 1]
        if cosine:
            moved[i] = end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1.0)
        else:
            moved[i] = (end - start) * share + start
    return moved


@compiled_to_the_letter
def cycle(moves: Moves, total_size: float, step_ratio: float, mode: int, gamma: float) -> Floats:
    """How far from its base CyclicLR is after each of the moves, 1 being the first peak.

    The mode is 0 for equal peaks, 1 where each is half of the last, 2 for powers of gamma.
    """
    heights = np.empty(len(moves))
    for i in range(len(moves)):
        number = math.floor(1.0 + moves[i] / total_size)
        x = 1.0 + moves[i] / total_size - number
        height = x / step_ratio if x <= step_ratio else (x - 1.0) / (step_ratio - 1.0)
        if mode == 1:
            height *= 1.0 / 2.0 ** (number - 1.0)
        elif mode == 2:  # noqa: PLR2004 (named above)
            height *= gamma ** float(moves[i])
        heights[i] = height
    return heights

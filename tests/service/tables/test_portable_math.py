"""Functions of our own that are as exact as a platform's."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from service.tables.portable_math import LARGEST_ANGLE, cos, exp, log, sin

MOST_ULPS = 2.0


def worst(ours: Callable[[Any], Any], true: Callable[[Any], Any], at: np.ndarray) -> float:
    """The largest distance from the true value, in units of its last place."""
    distances = []
    with mpmath.workprec(200):
        for x, y in zip(at.tolist(), ours(at).tolist(), strict=True):
            exact = true(mpmath.mpf(x))
            distances.append(abs(mpmath.mpf(y) - exact) / np.spacing(abs(float(exact))))
    return float(max(distances))


def test_log() -> None:
    rng = np.random.default_rng(0)
    at = np.concatenate([rng.random(500), 2.0 ** rng.uniform(-1000, 1000, 500)])
    near_one = 1 + rng.normal(size=500) * np.logspace(-15, -1, 500)

    assert worst(log, mpmath.log, at) < MOST_ULPS
    assert worst(log, mpmath.log, near_one[near_one != 1]) < MOST_ULPS
    assert log(np.ones(1)) == 0


def test_exp() -> None:
    at = np.random.default_rng(2).uniform(-700, 700, 500)

    assert worst(exp, mpmath.exp, np.concatenate([at, at / 1000, at / 1e9])) < MOST_ULPS
    assert exp(np.zeros(1)) == 1


@pytest.mark.parametrize("largest", [1.0, 10.0, 1e4, LARGEST_ANGLE])
def test_sin_and_cos(largest: float) -> None:
    at = np.random.default_rng(1).uniform(-largest, largest, 500)
    near_zeros = np.rint(at / (np.pi / 2)) * (np.pi / 2)

    for angles in (at, near_zeros[near_zeros != 0]):
        assert worst(sin, mpmath.sin, angles) < MOST_ULPS
        assert worst(cos, mpmath.cos, angles) < MOST_ULPS

"""Seeded draws: the same bits on every machine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.schemas.generators import Normal, Uniform
from service.tables.portable_math import cos, log, sin

Floats = NDArray[Any]


class Draws:
    """Numbers from one Mersenne Twister, in the order in which they are asked for.

    Uniform numbers are those that PyTorch's CPU generator gives for the seed and dtype: 24 bits of
    one draw for a float32, 53 bits of two for a float64. Normal ones are Box and Muller's, by
    logarithms and cosines of our own.
    """

    def __init__(self, seed: int, dtype: type[np.floating[Any]]) -> None:
        self._twister = np.random.RandomState(seed)
        self.dtype = np.dtype(dtype)

    def uniform(self, n: int, low: float, high: float) -> Floats:
        """(n,) in [low, high], computed in the dtype as u·(high − low) + low."""
        u = self._unit32(n) if self.dtype == np.float32 else self._unit64(n)
        low_, high_ = self.dtype.type(low), self.dtype.type(high)
        drawn: Floats = u * (high_ - low_) + low_
        return drawn

    def normal(self, n: int, mean: float, std: float) -> Floats:
        """(n,) of this mean and standard deviation, computed in float64, then in the dtype."""
        half = -(-n // 2)
        # 1 − u is never 0.
        radius = np.sqrt(-2 * log(1 - self._unit64(half)))
        angle = 2 * np.pi * self._unit64(half)
        standard = np.concatenate([radius * cos(angle), radius * sin(angle)])[:n]
        return (standard * std + mean).astype(self.dtype)

    def draw(self, distribution: Uniform | Normal | float, n: int) -> Floats:
        """(n,) of the distribution; a number is the standard deviation around 0, 0 draws none."""
        if isinstance(distribution, Uniform):
            return self.uniform(n, *distribution.uniform)
        if isinstance(distribution, Normal):
            return self.normal(n, *distribution.normal)
        if distribution == 0:
            return np.zeros(n, self.dtype)
        return self.normal(n, 0, distribution)

    def _bits(self, n: int) -> NDArray[np.uint64]:
        """(n,) of 32 bits each."""
        return self._twister.randint(0, 2**32, size=n, dtype=np.uint64)

    def _unit32(self, n: int) -> NDArray[np.float32]:
        return ((self._bits(n) & np.uint64(2**24 - 1)) * 2.0**-24).astype(np.float32)

    def _unit64(self, n: int) -> NDArray[np.float64]:
        high, low = self._bits(2 * n).reshape(n, 2).T
        bits = (high << np.uint64(32) | low) & np.uint64(2**53 - 1)
        return bits.astype(np.float64) * 2.0**-53

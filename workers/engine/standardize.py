"""Features brought to mean 0 and variance 1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from workers.engine.data import Data, RowSource, Shape, blocks
from workers.engine.errors import SpecificationError
from workers.engine.splitting import Split

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """x → (x - mean) / std, feature by feature: mean and std are (d,) float64."""

    mean: Floats
    std: Floats

    @classmethod
    def of(cls, source: RowSource) -> Self:
        """The means and the populations' standard deviations of all rows, each counted once.

        Block by block by the formula of Chan, Golub and LeVeque (1979). Raises SpecificationError
        for a constant feature.
        """
        n = 0
        mean = squares = np.zeros(source.shape.n_features)
        for _, block in blocks(source):
            m = len(block.x)
            block_mean = block.x.mean(axis=0)
            gap = block_mean - mean
            squares = squares + ((block.x - block_mean) ** 2).sum(axis=0) + gap**2 * n * m / (n + m)
            mean = mean + gap * m / (n + m)
            n += m
        constant = np.flatnonzero(squares == 0)
        if len(constant):
            detail = f"feature {constant[0]} is constant: it has no variance to scale by"
            raise SpecificationError("/standardize", detail)
        return cls(mean, np.sqrt(squares / n))

    def scale(self, x: Floats) -> Floats:
        """Rows (m, d) of features, scaled."""
        scaled: Floats = (x - self.mean) / self.std
        return scaled

    def in_own_units(self, weights: Arrays) -> dict[str, NDArray[Any]]:
        """`weight` (k, d) and `bias` (k,) of one layer on scaled features → on the data's own."""
        weight = weights["weight"].astype(np.float64) / self.std
        return {"weight": weight, "bias": weights["bias"] - weight @ self.mean}


class ScaledRows:
    """A source with its features scaled. See `workers.engine.data.RowSource`."""

    def __init__(self, source: RowSource, scaling: Scaling) -> None:
        self._source = source
        self._scaling = scaling

    @property
    def shape(self) -> Shape:
        """The numbers of rows, features and targets."""
        return self._source.shape

    @property
    def weighted(self) -> bool:
        """Whether rows count by their weights."""
        return self._source.weighted

    def read(self, first: int, stop: int) -> Data:
        """The rows [first, stop), in order."""
        rows = self._source.read(first, stop)
        return Data(self._scaling.scale(rows.x), rows.y, rows.weight, rows.n_classes)


def scaled(split: Split, scaling: Scaling) -> Split:
    """Both parts with their features scaled: in memory where they are."""
    held_out = split.validation
    return Split(
        _scaled(split.train, scaling), None if held_out is None else _scaled(held_out, scaling)
    )


def _scaled(source: RowSource, scaling: Scaling) -> RowSource:
    rows = ScaledRows(source, scaling)
    return rows.read(0, source.shape.n_rows) if isinstance(source, Data) else rows

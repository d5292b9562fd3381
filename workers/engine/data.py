"""The numbers that a model is fitted to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from workers.engine.interrupting import look

_BLOCK_ROWS = 65_536
_BLOCK_BYTES = 64 * 1024**2
_NUMBER_BYTES = 8


class Shape(NamedTuple):
    """How large a fit's data are: all that a plan may know of them.

    Where the one target is a class, one of `n_classes`, its numbers are 0, 1, ….
    """

    n_rows: int
    n_features: int
    n_targets: int
    weighted: bool = False
    n_classes: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Training rows in memory.

    x: (n, d) float64, y: (n, k) float64, weight: (n,) float64, 0 or more, None where every row
    counts alike; `n_classes` where y is (n, 1) classes, see `Shape`. The engine casts them to the
    fit's dtype. Raises ValueError where these are not matrices of one and the same number of rows,
    at least one, where a class is none of 0, 1, …, n_classes - 1, or where a weight is below 0 or
    not finite. The weights of some rows may all be 0, but `fit` refuses those of a whole set.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    weight: NDArray[np.float64] | None = None
    n_classes: int | None = None
    shape: Shape = field(init=False, repr=False)

    def __post_init__(self) -> None:
        matrices = (self.x.ndim, self.y.ndim) == (2, 2)
        if not matrices or len(self.x) != len(self.y) or not self.x.size or not self.y.size:
            raise ValueError(
                f"x and y must be (n, d) and (n, k), not {self.x.shape} and {self.y.shape}"
            )
        (n_rows, n_features), n_targets = self.x.shape, self.y.shape[1]
        shape = Shape(n_rows, n_features, n_targets, self.weighted, self.n_classes)
        object.__setattr__(self, "shape", shape)
        if self.n_classes is not None:
            self._check_classes(self.n_classes)
        if self.weight is None:
            return
        if self.weight.shape != (len(self.x),):
            raise ValueError(f"weight must be ({len(self.x)},), not {self.weight.shape}")
        if not ((self.weight >= 0) & np.isfinite(self.weight)).all():
            raise ValueError("every weight must be finite, and 0 or more")

    def _check_classes(self, n_classes: int) -> None:
        if self.y.shape[1] != 1:
            raise ValueError(f"classes must be (n, 1), not {self.y.shape}")
        # What is not a number is no class either.
        known = (self.y >= 0) & (self.y < n_classes) & (self.y == np.floor(self.y))
        if not known.all():
            unknown = self.y[~known][0]
            raise ValueError(f"{unknown} is none of the classes 0 to {n_classes - 1}")

    @property
    def weighted(self) -> bool:
        """Whether rows count by their weights."""
        return self.weight is not None

    def read(self, first: int, stop: int) -> "Data":
        """The rows [first, stop); these very data where they are all."""
        if first == 0 and stop >= len(self.x):
            return self
        weight = None if self.weight is None else self.weight[first:stop]
        return Data(self.x[first:stop], self.y[first:stop], weight, self.n_classes)


class RowSource(Protocol):
    """Training rows that are read as they are needed: more of them than memory may hold."""

    @property
    def shape(self) -> Shape:
        """The numbers of rows, features and targets."""

    @property
    def weighted(self) -> bool:
        """Whether rows count by their weights."""

    def read(self, first: int, stop: int) -> Data:
        """The rows [first, stop), in order."""


def row_bytes(source: RowSource) -> int:
    """What a row takes: its features and targets, and its weight where it has one."""
    shape = source.shape
    return _NUMBER_BYTES * (shape.n_features + shape.n_targets + source.weighted)


def blocks(
    source: RowSource, most_rows: int | None = None, *, first: int = 0, stop: int | None = None
) -> Iterator[tuple[int, Data]]:
    """The rows [first, stop) in order, all unless told otherwise, in blocks of at most so many.

    Each comes beside its first row's number. Unless told otherwise they have 65,536 rows, or fewer
    where these would take more than 64 MiB. Between them it looks whether they are still wanted.
    """
    n_rows = source.shape.n_rows if stop is None else stop
    if most_rows is None:
        most_rows = max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // row_bytes(source)))
    for begin in range(first, n_rows, most_rows):
        if begin > first:
            look()
        yield begin, source.read(begin, min(begin + most_rows, n_rows))

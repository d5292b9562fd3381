"""The numbers that a model is fitted to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a fit's data are: all that a plan may know of them."""

    n_rows: int
    n_features: int
    n_targets: int


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The training rows.

    x: (n, d) float64, y: (n, k) float64; the engine casts them to the fit's dtype. Raises
    ValueError where these are not two matrices of one and the same number of rows, at least one.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrices = (self.x.ndim, self.y.ndim) == (2, 2)
        if not matrices or len(self.x) != len(self.y) or not self.x.size or not self.y.size:
            raise ValueError(
                f"x and y must be (n, d) and (n, k), not {self.x.shape} and {self.y.shape}"
            )

    @property
    def shape(self) -> Shape:
        """The numbers of rows, features and targets."""
        return Shape(len(self.x), self.x.shape[1], self.y.shape[1])

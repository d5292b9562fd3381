"""Drawn tables: the same numbers for the same description, on every machine.

`linear` is computed in float32, operation by operation as PyTorch computes a notebook's
`intercept + coef * x + noise`; every other kind in float64. What is drawn comes in this order: the
centers of blobs, then the features (`linear` and `xor` row by row, blobs column by column), then
the noise, which is not drawn where it is the number 0. Rows of classes come class by class, the
first classes a row longer where `n` does not divide (of moons and circles the second); in `xor`
they come as drawn.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.schemas.generators import (
    BlobsTable,
    CirclesTable,
    Drawn,
    Generator,
    LinearTable,
    MoonsTable,
    PolynomialTable,
    SineTable,
    SpiralsTable,
    StepTable,
    XorTable,
)
from service.tables.draws import Draws
from service.tables.portable_math import cos, sin

Columns = dict[str, NDArray[np.float64]]
_TWO_PI = 2 * np.pi


def generate(generator: Generator) -> Columns:
    """The table's columns, each (n,) float64: the features, then the target `y`."""
    dtype = np.float32 if isinstance(generator, LinearTable) else np.float64
    draws = Draws(generator.seed, dtype)
    # Numbers past float64's range become infinite here and are refused with their rows.
    with np.errstate(over="ignore", invalid="ignore"):
        return GENERATORS[generator.kind](generator, draws)


def _linear(given: LinearTable, draws: Draws) -> Columns:
    width = len(given.coef)
    x = draws.draw(given.x, given.n * width).reshape(given.n, width)
    y = np.full(given.n, given.intercept, draws.dtype)
    for j, coef in enumerate(given.coef):
        y = y + draws.dtype.type(coef) * x[:, j]
    return _table(x.T, y + draws.draw(given.noise, given.n))


def _polynomial(given: PolynomialTable, draws: Draws) -> Columns:
    x = draws.draw(given.x, given.n)
    y = np.zeros(given.n)
    for coef in reversed(given.coef):
        y = (y + coef) * x
    return _table([x], y + given.intercept + draws.draw(given.noise, given.n))


def _sine(given: SineTable, draws: Draws) -> Columns:
    x = draws.draw(given.x, given.n)
    turns = given.frequency * x
    # Whole turns go first, for they would cost the angle its last digits.
    y = given.amplitude * sin(_TWO_PI * (turns - np.floor(turns)) + given.phase)
    return _table([x], y + draws.draw(given.noise, given.n))


def _step(given: StepTable, draws: Draws) -> Columns:
    x = draws.draw(given.x, given.n)
    y = np.where(x >= given.threshold, given.high, given.low)
    return _table([x], y + draws.draw(given.noise, given.n))


def _xor(given: XorTable, draws: Draws) -> Columns:
    x = draws.uniform(given.n * 2, -1, 1).reshape(given.n, 2)
    y = (x[:, 0] < 0) != (x[:, 1] < 0)
    return _moved(x.T, y, given, draws)


def _moons(given: MoonsTable, draws: Draws) -> Columns:
    """As scikit-learn's make_moons places them."""
    outer, inner = (_half_circle(m) for m in (given.n // 2, given.n - given.n // 2))
    x1 = np.concatenate([cos(outer), 1 - cos(inner)])
    x2 = np.concatenate([sin(outer), 0.5 - sin(inner)])
    return _moved([x1, x2], _classes([len(outer), len(inner)]), given, draws)


def _half_circle(m: int) -> NDArray[np.float64]:
    return np.arange(m, dtype=np.float64) * (np.pi / max(1, m - 1))


def _circles(given: CirclesTable, draws: Draws) -> Columns:
    """As scikit-learn's make_circles places them."""
    sizes = [given.n // 2, given.n - given.n // 2]
    angle = np.concatenate([np.arange(m) * (_TWO_PI / max(1, m)) for m in sizes])
    y = _classes(sizes)
    radius = np.where(y == 0, 1.0, given.factor)
    return _moved([radius * cos(angle), radius * sin(angle)], y, given, draws)


def _spirals(given: SpiralsTable, draws: Draws) -> Columns:
    sizes = _shares(given.n, given.classes)
    radius = np.concatenate([(np.arange(m) + 1) / max(1, m) for m in sizes])
    y = _classes(sizes)
    angle = _TWO_PI * (given.turns * radius + y / given.classes)
    return _moved([radius * cos(angle), radius * sin(angle)], y, given, draws)


def _blobs(given: BlobsTable, draws: Draws) -> Columns:
    if isinstance(given.centers, int):
        drawn = draws.uniform(given.centers * given.n_features, *given.box)
        centers = drawn.reshape(given.centers, given.n_features)
    else:
        centers = np.array(given.centers)
    y = _classes(_shares(given.n, len(centers)))
    spread = [draws.draw(given.std, given.n) for _ in range(given.n_features)]
    x = [centers[y, j] + spread[j] for j in range(given.n_features)]
    return _moved(x, y, given, draws)


def _shares(n: int, classes: int) -> list[int]:
    """The rows of each class: as many in each as can be, the first ones one more."""
    return [n // classes + (k < n % classes) for k in range(classes)]


def _classes(sizes: list[int]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(sizes)), sizes)


def _moved(x: Any, y: Any, given: Drawn, draws: Draws) -> Columns:
    """Points with noise in every feature, and their classes."""
    return _table([feature + draws.draw(given.noise, given.n) for feature in x], y)


def _table(x: Any, y: Any) -> Columns:
    names = ["x"] if len(x) == 1 else [f"x{j + 1}" for j in range(len(x))]
    columns = zip([*names, "y"], [*x, y], strict=True)
    return {name: np.asarray(values, np.float64) for name, values in columns}


# One entry a kind of the contract.
GENERATORS: Mapping[str, Callable[[Any, Draws], Columns]] = {
    "linear": _linear,
    "polynomial": _polynomial,
    "sine": _sine,
    "step": _step,
    "xor": _xor,
    "moons": _moons,
    "circles": _circles,
    "spirals": _spirals,
    "blobs": _blobs,
}

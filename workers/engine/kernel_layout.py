"""Where a fit's numbers lie in the one flat array that compiled loops compute in."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine.dtypes import DType, numpy_dtype
from workers.engine.kernel_codes import ACTIVATION_CODES
from workers.engine.kernel_layers import Plan
from workers.engine.kernel_products import Numbers
from workers.engine.kernel_vectors import LINE_BYTES

_MOST_LINES = 31
_FEW_LINES = 4
_TILE_BYTES = 2**18
_MOST_RESIDENT_BYTES = 2**19
_WINDOW_BYTES = 2**16

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Tiles:
    """How the rows are cut: `step` rows a tile, `n` tiles in the array at once.

    Beside the tiles, `window` rows lie as they come, `row_step` numbers apart.
    """

    step: int
    n: int
    window: int
    row_step: int
    resident: bool


class _Regions:
    """Gives out places in an array, each at the beginning of a line."""

    def __init__(self, per_line: int) -> None:
        self._per_line = per_line
        self.size = 0

    def take(self, n: int) -> int:
        """Where so many numbers, and a vector that begins at the last of them, have room."""
        at = self.size
        self.size += -(-n // self._per_line) * self._per_line + self._per_line
        return at


@dataclass(frozen=True, slots=True)
class Layout:
    """The plan of the layers, the places of the tiles, and the array."""

    plan: Plan
    tiles: Tiles
    columns_at: int
    rows_at: int
    targets_at: int
    weights_at: int
    numbers: Numbers


def widths_of(shapes: Shapes) -> list[int]:
    """The numbers that go into the layers of these weights, and those that come out at last."""
    matrices = [shape for shape in shapes.values() if len(shape) == 2]  # noqa: PLR2004
    return [matrices[0][1], *(n_out for n_out, _ in matrices)]


def cut_tiles(widths: Sequence[int], size: int, n_rows: int, dtype: DType) -> Tiles:
    """Tiles for batches of `size` rows: small enough for the cache, and for few all at once."""
    item_bytes = numpy_dtype(dtype).itemsize
    per_line = LINE_BYTES // item_bytes
    row_bytes = item_bytes * (2 * sum(widths) + 2 * max(widths))
    most = max(2, min(_MOST_LINES, _TILE_BYTES // (row_bytes * per_line)))
    lines = min(most, -(-size // per_line))
    # Long columns are an odd number of lines long: those a power of two apart would all fall into
    # the same few lines of the cache.
    step = per_line * (lines if lines <= _FEW_LINES else (lines - 1) | 1)
    row_step = per_line * -(-widths[0] // per_line)
    if size == n_rows and n_rows * row_step * item_bytes <= _MOST_RESIDENT_BYTES:
        return Tiles(step, -(-n_rows // step), n_rows, row_step, resident=True)
    # Whole batches, or else one tile's rows.
    n_batches = _WINDOW_BYTES // (size * row_step * item_bytes)
    return Tiles(step, 1, max(step, n_batches * size), row_step, resident=False)


def lay_out(
    shapes: Shapes, tiles: Tiles, n_targets: int, codes: tuple[str, str], dtype: DType
) -> Layout:
    """The layout of layers of these weights, with (activation, output) by their names."""
    per_line = LINE_BYTES // numpy_dtype(dtype).itemsize
    regions = _Regions(per_line)
    widths = widths_of(shapes)
    weights_at, biases_at, n_parameters = _parameters(shapes)
    parameters_at, gradient_at = regions.take(n_parameters), regions.take(n_parameters)
    # Vectors of a layer's last rows end in the lines of the next one's.
    across_step = -(-max(widths[:-1]) // per_line) * per_line
    values_at = [regions.take(width * tiles.step) for width in widths[1:]]
    slopes_at = [regions.take(width * tiles.step) for width in widths[1:]]
    products_at = [regions.take(n_out * across_step + n_out) for _, n_out in pairwise(widths)]
    pull_at = regions.take(max(widths[1:]) * tiles.step)
    across_at = regions.take(tiles.step * across_step)
    n_rows = tiles.n * tiles.step
    # A vector of features makes as many columns, the last of which stand behind the tile.
    columns_at = regions.take(n_rows * widths[0] + per_line * tiles.step)
    # Whole vectors of rows are read.
    rows_at = regions.take((tiles.window + per_line) * tiles.row_step)
    plan = Plan(
        widths=np.array(widths),
        values_at=np.array([columns_at, *values_at]),
        slopes_at=np.array([-1, *slopes_at]),
        weights_at=np.array(weights_at),
        biases_at=np.array(biases_at),
        products_at=np.array(products_at),
        parameters_at=parameters_at,
        gradient_at=gradient_at,
        n_parameters=n_parameters,
        pull_at=pull_at,
        across_at=across_at,
        across_step=across_step,
        step=tiles.step,
        activation=ACTIVATION_CODES[codes[0]],
        output=ACTIVATION_CODES[codes[1]],
    )
    return Layout(
        plan=plan,
        tiles=tiles,
        columns_at=columns_at,
        rows_at=rows_at,
        targets_at=regions.take(n_rows * n_targets),
        weights_at=regions.take(n_rows),
        numbers=_aligned(regions.size, dtype),
    )


def _parameters(shapes: Shapes) -> tuple[list[int], list[int], int]:
    """Where each layer's weight and bias are among the parameters, and how many these are."""
    weights_at: list[int] = []
    biases_at: list[int] = []
    at = 0
    for shape in shapes.values():
        if len(shape) == 1:
            biases_at[-1] = at
        else:
            weights_at.append(at)
            biases_at.append(-1)
        at += math.prod(shape)
    return weights_at, biases_at, at


def _aligned(n: int, dtype: DType) -> NDArray[Any]:
    """n numbers of 0, from the beginning of a line of the cache on."""
    kind = numpy_dtype(dtype)
    room = np.zeros(n * kind.itemsize + LINE_BYTES, np.uint8)
    skipped = -room.ctypes.data % LINE_BYTES
    return room[skipped : skipped + n * kind.itemsize].view(kind)

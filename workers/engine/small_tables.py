"""Least squares over a table so small that the calls would take longer than the numbers."""

import numpy as np
from numpy.typing import NDArray

from workers.engine import table_loops
from workers.engine.data import RowSource, Shape
from workers.engine.dtypes import largest
from workers.engine.normal_equations import Layer
from workers.engine.specification import Specification
from workers.engine.spectrum import TOLERATED
from workers.engine.spectrum_loops import Factor, Spectrum
from workers.engine.table_loops import Line, Table
from workers.engine.threads import one_blas_thread

_MOST_ROWS = 1_024
_MOST_PRODUCTS = 2**17


def is_small(shape: Shape) -> bool:
    """Whether so many rows, features and targets are better read by a loop than in blocks."""
    width = shape.n_features + shape.n_targets
    return shape.n_rows <= _MOST_ROWS and shape.n_rows * width**2 <= _MOST_PRODUCTS


def line_of(spec: Specification, *, has_bias: bool) -> Line:
    """What the specification's rows are fitted by, but for what no square tells."""
    penalty = float(spec.penalty.l2)
    return Line(has_bias, 0.0, penalty, TOLERATED[spec.dtype], largest(spec.dtype))


def survey(
    spec: Specification, rows: RowSource, layer: Layer
) -> tuple[int, Factor, Spectrum, float]:
    """What `table_loops.survey` finds around the layer."""
    line = line_of(spec, has_bias=layer.bias is not None)
    with one_blas_thread():
        return table_loops.survey(_table(rows, spec), _coefficients(layer), line)


def loss_over(spec: Specification, rows: RowSource, layer: Layer) -> float:
    """The loss of the layer over all rows; infinite where no dtype's number is."""
    line = line_of(spec, has_bias=layer.bias is not None)._replace(l1=float(spec.penalty.l1))
    return table_loops.loss_over(_table(rows, spec), _coefficients(layer), line)


def _table(rows: RowSource, spec: Specification) -> Table:
    data = rows.read(0, rows.shape.n_rows)
    weight = np.empty(0) if data.weight is None else data.weight
    # Copies: arrays that must not be written to are of another type to numba.
    x, y, weight = (np.array(part, np.float64, order="C") for part in (data.x, data.y, weight))
    return Table(x, y, weight, single=spec.dtype == "float32")


def _coefficients(layer: Layer) -> NDArray[np.float64]:
    return np.array(layer.coefficients(), order="C")

"""Linear least squares in the coordinates that a full-batch descent moves one by one.

Around weights w₀ the loss is rest + ‖R·(w - w₀) + q‖²/k. With R = UΣVᵀ the gradient by a
coordinate of Vᵀ(w - w₀) depends on that coordinate alone. R has a row for the means of the
features, which are never squared, and for the rest of the moments rows of their own: what it loses
to rounding follows from how correlated the features are, not from where their origin lies.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from workers.engine import spectrum_loops
from workers.engine.asides import aside_if
from workers.engine.dtypes import DType
from workers.engine.normal_equations import Layer, Moments
from workers.engine.spectrum_loops import Factor, Spectrum
from workers.engine.threads import one_blas_thread

Floats = NDArray[np.float64]
Made = TypeVar("Made")

# The largest relative error of an eigenvalue of the Hessian, and so of what is descended with it.
TOLERATED: dict[DType, float] = {"float64": 1e-9, "float32": 1e-5}

_WIDE = 512


@dataclass(frozen=True, slots=True, eq=False)
class Squares:
    """What a pass over the rows told, in float64: the loss around a layer, with its smallest one.

    That is `rest`: known to the last digits, and not as a difference of sums alone.
    """

    layer: Layer
    factor: Factor
    rest: float


def factor(moments: Moments, layer: Layer, l2: float) -> Factor | None:
    """The loss, l2 penalty included, of a layer on rows whose moments its residuals have.

    None where a number would not be finite.
    """
    has_bias = layer.bias is not None
    factored = partial(
        spectrum_loops.factored,
        *(moments.mean, moments.covariance, np.array(layer.weight), has_bias, float(l2)),
    )
    finite, found = aside_if(is_wide(len(moments.mean)), partial(_by_one_thread, factored))
    return found if finite else None


def decompose(found: Factor) -> Spectrum:
    """The loss in the coordinates of its own Hessian."""
    decomposed = partial(spectrum_loops.decomposed, found)
    return aside_if(is_wide(found.matrix.shape[1]), partial(_by_one_thread, decomposed))


def _by_one_thread(task: Callable[[], Made]) -> Made:
    """The task's result; whoever leaves it alone does not change what it computes with."""
    with one_blas_thread():
        return task()


def is_wide(n_columns: int) -> bool:
    """Whether the algebra of so many columns takes long."""
    return n_columns > _WIDE


def are_safe(found: Factor, spectrum: Spectrum, dtype: DType) -> bool:
    """Whether the squares of the data tell what the data do, to the digits of the dtype's fits."""
    tolerated = TOLERATED[dtype]
    return spectrum_loops.is_safe_factor(found, tolerated) and spectrum_loops.is_safe_spectrum(
        spectrum, tolerated
    )


def digest(spectrum: Spectrum) -> str:
    """The same for the same numbers to the bit, and for no others."""
    numbers = hashlib.sha256(np.float64(spectrum.rest).tobytes())
    for array in (spectrum.basis, spectrum.scale, spectrum.pull):
        numbers.update(array.tobytes())
    return numbers.hexdigest()

"""Elementary functions of compiled loops are the C library's to a few units in the last place."""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from workers.engine import kernel_functions

LEAST = {np.float32: -86.9, np.float64: -707.9}
MOST = {np.float32: 88.72, np.float64: 709.78}


def of_all(name: str, x: NDArray[Any]) -> NDArray[Any]:
    """The function of each number, in a loop that LLVM makes vectors of."""
    function = getattr(kernel_functions, name)

    def loop(x: NDArray[Any], y: NDArray[Any]) -> None:
        for i in range(len(x)):
            y[i] = function(x[i])

    compile_loop: Any = numba.njit(error_model="numpy", fastmath={"contract"})
    y = np.empty_like(x)
    compile_loop(loop)(x, y)
    return y


def assert_near(found: NDArray[Any], x: NDArray[Any], exact: Callable[[Any], Any]) -> None:
    expected = exact(x.astype(np.longdouble))
    error = np.abs(found - expected) / np.maximum(np.abs(expected), np.finfo(x.dtype).tiny)
    assert error.max() < 3 * np.finfo(x.dtype).eps


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_exponential(kind: Any) -> None:
    rng = np.random.default_rng(0)
    far = rng.uniform(LEAST[kind], MOST[kind], 100_000)
    near = rng.normal(size=1_000) * 10.0 ** rng.uniform(-20, 0, 1_000)
    # where 2ᵏ has no number, but the exponential has
    last = np.linspace(MOST[kind] - 0.5, MOST[kind], 1_000)
    x = np.concatenate([far, near, last]).astype(kind)

    assert_near(of_all("exponential", x), x, np.exp)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_exponential_where_there_is_no_number(kind: Any) -> None:
    x = np.array([0.0, -0.0, 1e4, np.inf, -1e4, -np.inf, np.nan], kind)

    found = of_all("exponential", x)

    assert found[:4].tolist() == [1, 1, np.inf, np.inf]
    assert (found[4:6] < 4 * np.finfo(kind).tiny).all()
    assert np.isnan(found[6])


def test_logarithms() -> None:
    rng = np.random.default_rng(0)
    small = np.concatenate([rng.uniform(0, 1, 50_000), 10.0 ** rng.uniform(-300, 0, 1_000)])
    large = np.concatenate([1 + small, 10.0 ** rng.uniform(0, 300, 50_000), [1.0, 2.0]])

    assert_near(of_all("log_plus_one", small), small, np.log1p)
    assert_near(of_all("log_of_one_or_more", large), large, np.log)
    assert math.isnan(of_all("log_plus_one", np.array([np.nan]))[0])
    assert math.isnan(of_all("log_of_one_or_more", np.array([np.nan]))[0])

"""Lanes compute what each of their numbers would come to by itself."""

import numba
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workers.engine.compiled_lanes import (
    N_LANES,
    all_at_most,
    lanes_of,
    load,
    magnitude,
    root,
    store,
)

Floats = NDArray[np.float64]

N_RESULTS = 8


@numba.njit(error_model="numpy")
def compute(numbers: Floats, results: Floats, common: float, zero: float) -> None:
    """Every operation, of numbers or of lanes, by what `zero` is."""
    one, other = load(numbers, 0, zero), load(numbers, 1, zero)
    store(results, 0, one + other)
    store(results, 1, one - other)
    store(results, 2, one * other)
    store(results, 3, one / other)
    store(results, 4, common * one - other * common)
    store(results, 5, common / one)
    store(results, 6, root(magnitude(one)))
    store(results, 7, zero + common)


@numba.njit(error_model="numpy")
def compute_lanes(numbers: Floats, results: Floats, common: float) -> bool:
    compute(numbers, results, common, lanes_of(0.0))
    zero = lanes_of(0.0)
    return bool(all_at_most(load(numbers, 0, zero), load(numbers, 1, zero)))


@given(
    st.lists(st.floats(), min_size=2 * N_LANES, max_size=2 * N_LANES),
    st.floats(),
    st.booleans(),
)
@settings(max_examples=200)
def test_a_lane_is_a_number(drawn: list[float], common: float, ordered: bool) -> None:
    # given two lines of lanes, the second perhaps nowhere below the first
    numbers = np.array(drawn).reshape(2, N_LANES)
    numbers = np.sort(numbers, axis=0) if ordered else numbers

    # when all lanes are computed with at once, and each number by itself
    together = np.empty((N_RESULTS, N_LANES))
    within = compute_lanes(numbers.ravel(), together.ravel(), common)
    alone = np.empty((N_RESULTS, N_LANES))
    for lane in range(N_LANES):
        found = np.empty(N_RESULTS)
        compute(np.ascontiguousarray(numbers[:, lane]), found, common, 0.0)
        alone[:, lane] = found

    # then not a bit differs but in what is no number, and the bound holds where it holds for all
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(
        np.signbit(together)[~np.isnan(alone)], np.signbit(alone)[~np.isnan(alone)]
    )
    assert within == bool((numbers[0] <= numbers[1]).all())

"""Small matrices' singular values, beside LAPACK's and beside exact ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workers.engine.jacobi_loops import MOST_COLUMNS, singular_values

EPS = np.finfo(np.float64).eps


def assert_decomposes(matrix: NDArray[np.float64]) -> None:
    left, scale, basis = singular_values(matrix)

    size = max(np.abs(matrix).max(), np.finfo(np.float64).tiny)
    np.testing.assert_allclose(left * scale @ basis.T, matrix, rtol=0, atol=32 * EPS * size)
    np.testing.assert_allclose(basis.T @ basis, np.eye(len(basis)), atol=32 * EPS)
    kept = left[:, scale > 0]
    np.testing.assert_allclose(kept.T @ kept, np.eye(kept.shape[1]), atol=64 * EPS)
    np.testing.assert_allclose(
        scale, np.linalg.svd(matrix, compute_uv=False), rtol=0, atol=32 * EPS * scale[0]
    )
    assert (np.diff(scale) <= 0).all()


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(1, MOST_COLUMNS), st.integers(0, 6)),
    rank=st.integers(0, MOST_COLUMNS),
    exponent=st.integers(-150, 150),
    seed=st.integers(0, 2**31),
)
def test_they_are_lapacks(shape: tuple[int, int], rank: int, exponent: int, seed: int) -> None:
    n, more = shape
    rng = np.random.default_rng(seed)
    rows, columns = rng.normal(size=(n + more, rank)), rng.normal(size=(rank, n))

    assert_decomposes(rows @ columns * 10.0**exponent)


@pytest.mark.parametrize("n", [1, 2, MOST_COLUMNS])
def test_zeros_have_none(n: int) -> None:
    left, scale, basis = singular_values(np.zeros((n + 1, n)))

    assert not left.any()
    assert not scale.any()
    np.testing.assert_array_equal(basis, np.eye(n))


def test_the_smallest_has_its_digits_beside_a_huge_one() -> None:
    # given columns at right angles, of lengths 1e10 and 1e-10
    matrix = np.array([[1e10, 1e-10], [1e10, -1e-10], [0.0, 0.0]])

    _, scale, _ = singular_values(matrix)

    np.testing.assert_allclose(scale, np.sqrt(2) * np.array([1e10, 1e-10]), rtol=4 * EPS)

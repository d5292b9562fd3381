"""The pass over the rows: their moments, in blocks that nothing but the shape decides on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.given import noisy_plane
from tests.workers.engine.least import Streamed
from workers.engine import Data, RowSource
from workers.engine.dtypes import DType
from workers.engine.normal_equations import Layer, Moments, finished, gather, sum_squares


def layer(data: Data, *, bias: bool = True) -> Layer:
    rng = np.random.default_rng(0)
    n_targets, n_features = data.y.shape[1], data.x.shape[1]
    return Layer(rng.normal(size=(n_targets, n_features)), np.ones(n_targets) if bias else None)


def moments(rows: RowSource, at: Layer, n_threads: int = 1, dtype: DType = "float64") -> Moments:
    return finished(gather(rows, at, dtype, n_threads))


def bits(found: Moments) -> list[bytes]:
    return [np.asarray(part).tobytes() for part in (found.total, found.mean, found.covariance)]


@given(
    n_rows=st.sampled_from([1, 2, 100, 9_000, 70_000]),
    n_features=st.integers(1, 20),
    n_targets=st.integers(1, 3),
    bias=st.booleans(),
    weighted=st.booleans(),
)
@settings(max_examples=30)
def test_they_are_numpys(
    n_rows: int, n_features: int, n_targets: int, bias: bool, weighted: bool
) -> None:
    data = noisy_plane(n_rows, n_features, n_targets, seed=3)
    weight = np.linspace(0.5, 2.0, n_rows) if weighted else None
    data = Data(data.x + 5, data.y, weight)
    at = layer(data, bias=bias)

    found = moments(data, at)

    residuals = data.x @ at.weight.T + (0 if at.bias is None else at.bias) - data.y
    table = np.hstack([data.x, residuals])
    counts = np.ones(n_rows) if weight is None else weight
    mean = counts @ table / counts.sum()
    covariance = (table - mean).T @ ((table - mean) * counts[:, None]) / counts.sum()
    assert found.total == pytest.approx(counts.sum(), rel=1e-12)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-12, atol=1e-11)
    squares, total = finished(sum_squares(data, at, "float64"))
    assert squares == pytest.approx((counts @ residuals**2).sum(), rel=1e-12)
    assert total == found.total


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_features", [1, 40])
def test_neither_threads_nor_streaming_change_a_bit(n_features: int, weighted: bool) -> None:
    # given rows for several tasks and several reads, some blocks of which count nothing
    n_rows = 400_000 // n_features
    data = noisy_plane(n_rows, n_features, weighted=weighted)
    if data.weight is not None:
        data.weight[: n_rows // 3] = 0
    at = layer(data)

    expected = bits(moments(data, at))

    for n_threads in (2, 7):
        assert bits(moments(data, at, n_threads)) == expected
        assert bits(moments(Streamed(data), at, n_threads)) == expected
    sums = {
        finished(sum_squares(rows, at, "float64", n))
        for rows in (data, Streamed(data))
        for n in (1, 2, 7)
    }
    assert len(sums) == 1


def test_a_source_is_read_once_in_order_and_in_groups() -> None:
    watched = Streamed(noisy_plane(100_000, 100))

    stops = sum(1 for _ in gather(watched, layer(noisy_plane(9, 100)), "float64"))

    assert stops == len(watched.reads) > 1
    ends = [0, *(stop for _, stop in watched.reads)]
    assert [first for first, _ in watched.reads] == ends[:-1]
    assert ends[-1] == 100_000
    assert max(stop - first for first, stop in watched.reads) * 101 * 8 <= 64 * 2**20


def test_rows_are_rounded_to_the_dtype() -> None:
    plane = noisy_plane(500, 3)
    x, y = (array.astype(np.float32).astype(np.float64) for array in (plane.x, plane.y))
    rounded = Data(x, y)

    assert bits(moments(plane, layer(plane), dtype="float32")) == bits(
        moments(rounded, layer(plane))
    )


def test_features_far_off_their_origin_keep_their_digits() -> None:
    # given steps of an eighth, exact in float64, a billion away from 0
    plane = noisy_plane(1_000, 3)
    x = np.round(plane.x * 8) / 8
    at = Layer(np.zeros((1, 3)), None)

    near = moments(Data(x, plane.y), at).covariance[:3, :3]
    far = moments(Data(x + 2.0**30, plane.y), at).covariance[:3, :3]

    np.testing.assert_allclose(far, near, rtol=0, atol=1e-13)

"""The triangle of least squares: from squares of the rows where these are exact, else by QR."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.given import noisy_plane, specification
from tests.workers.engine.least import LINEAR, Streamed, flat, found, norris, stretched
from tests.workers.engine.test_normal import ADAM
from tests.workers.engine.test_spectral import planes
from tests.workers.engine.test_spectrum import filip, longley
from workers.engine import Data, fit
from workers.engine.diagnostics import least_squares
from workers.engine.standardize import ScaledRows
from workers.engine.triangle import triangle_of


def table(data: Data, *, bias: bool) -> np.ndarray:
    """√(w/Σw)·[x, 1, y]."""
    weight = np.ones(len(data.x)) if data.weight is None else data.weight
    ones = [np.ones((len(data.x), 1))] if bias else []
    rows = np.hstack([data.x, *ones, data.y])
    return np.asarray(rows * np.sqrt(weight / weight.sum())[:, None])


@given(planes(), st.booleans(), st.sampled_from([0.0, 0.2]))
@settings(max_examples=60)
def test_its_products_are_the_rows_own(data: Data, bias: bool, l2: float) -> None:
    spec = specification(model=LINEAR | {"bias": bias}, penalty={"l1": 0.0, "l2": l2})

    triangle = triangle_of(spec, data)

    rows, n_features, n_targets = table(data, bias=bias), data.x.shape[1], data.y.shape[1]
    expected = rows.T @ rows
    expected[range(n_features), range(n_features)] += l2 * n_targets
    size = len(triangle) - n_targets
    np.testing.assert_allclose(
        (triangle.T @ triangle)[:size], expected[:size], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("strategy", ["spectral", "normal"])
@pytest.mark.parametrize("changes", [{}, {"penalty": {"l1": 0.0, "l2": 0.3}, "standardize": True}])
@pytest.mark.parametrize("weighted", [False, True])
def test_what_a_fit_knows_tells_as_much_as_the_rows(
    strategy: str, changes: dict[str, Any], weighted: bool
) -> None:
    # given a fit that has read the rows' squares
    spec = specification(strategy=strategy, **changes)
    result = fit(spec, stretched(2, weighted=weighted))
    rows = result.split.train
    if result.scaling is not None:
        rows = ScaledRows(rows, result.scaling)

    known = least_squares(spec, rows, result.weights, result.squares)
    read = least_squares(spec, rows, result.weights)

    assert result.squares is not None
    assert known is not None
    assert read is not None
    np.testing.assert_allclose(flat(known.weights), flat(read.weights), rtol=1e-12)
    assert known.loss == pytest.approx(read.loss, rel=1e-12)
    assert known.distance == pytest.approx(read.distance, rel=1e-12)
    assert known.condition_number == pytest.approx(read.condition_number, rel=1e-12)
    assert known.steps_to_1e_6 == read.steps_to_1e_6


def test_what_a_fit_knows_is_not_read_again() -> None:
    spec = specification(optimizer=ADAM)
    result = fit(spec, noisy_plane(2_000, 4))
    source = Streamed(noisy_plane(2_000, 4))

    least_squares(spec, source, result.weights, result.squares)

    assert source.reads == []


def test_what_a_fit_of_float32_knows_is_rounded() -> None:
    assert fit(specification(dtype="float32"), noisy_plane()).squares is None


@pytest.mark.parametrize("case", ["filip", "longley"])
def test_rows_whose_squares_lose_digits_are_decomposed(case: str) -> None:
    # given NIST's hard cases
    data = filip() if case == "filip" else longley()["data"]

    best = found(data)

    # then the optimum is that of the rows themselves
    rows = np.column_stack([data.x, np.ones(len(data.x))])
    scale = np.abs(rows).max(axis=0)
    expected = np.linalg.lstsq(rows / scale, data.y, rcond=1e-15)[0][:, 0] / scale
    own = [*best.weights["weight"][0], best.weights["bias"][0]]
    np.testing.assert_allclose(own, expected, rtol=1e-6)


def test_a_line_that_fits_well_has_its_loss_to_the_last_digits() -> None:
    # given readings of which the line explains all but some millionths
    data = norris()

    known = fit(specification(steps=1, optimizer=ADAM), data).squares

    best = least_squares(specification(), data, fit(specification(), data).weights, known)
    assert best is not None
    assert best.loss == pytest.approx(found(data).loss, rel=1e-11)

"""Where squares of the data are safe, their spectrum is exact; elsewhere it is not used."""

import json
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.given import noisy_plane, sgd, specification
from workers.engine import Data, Result, fit
from workers.engine.dtypes import DType
from workers.engine.normal_equations import Layer, finished, gather
from workers.engine.spectrum import are_safe, decompose, factor
from workers.engine.spectrum_loops import Factor, Spectrum, best_place, loss_at

CASES = Path(__file__).parents[2] / "cases"
TOLERATED: dict[DType, float] = {"float64": 1e-9, "float32": 1e-5}


def filip() -> Data:
    """The powers 1 to 10 of the readings."""
    case = json.loads((CASES / "filip.json").read_text())
    return Data(np.power.outer(np.array(case["x"]), np.arange(1, 11)), np.array(case["y"])[:, None])


def longley() -> dict[str, Any]:
    case: dict[str, Any] = json.loads((CASES / "longley.json").read_text())
    return case | {"data": Data(np.array(case["x"]), np.array(case["y"])[:, None])}


def around(data: Data, l2: float = 0.0, *, bias: bool = True) -> tuple[Factor, Spectrum]:
    n_targets = data.y.shape[1]
    at = Layer(np.zeros((n_targets, data.x.shape[1])), np.zeros(n_targets) if bias else None)
    found = factor(finished(gather(data, at, "float64")), at, l2)
    assert found is not None
    return found, decompose(found)


def is_safe(found: tuple[Factor, Spectrum], dtype: DType) -> bool:
    return are_safe(*found, dtype)


def exact_eigenvalues(data: Data, l2: float, *, bias: bool) -> list[Any]:
    """Those of the Hessian by one target, the largest first, to 50 digits."""
    ones = [np.ones((len(data.x), 1))] if bias else []
    with mp.workdps(50):
        table = mp.matrix(np.hstack([data.x, *ones]).tolist())
        hessian = table.T * table * (mp.mpf(2) / len(data.x) / data.y.shape[1])
        for i in range(data.x.shape[1]):
            hessian[i, i] += 2 * mp.mpf(l2)
        return sorted(mp.eigsy(hessian, eigvals_only=True), reverse=True)


@given(
    seed=st.integers(0, 1_000),
    nearness=st.floats(-9.0, 0.0),
    units=st.lists(st.floats(-2.0, 2.0), min_size=4, max_size=4),
    origin=st.sampled_from([0.0, 1.0, 100.0]),
    l2=st.sampled_from([0.0, 1e-6, 0.1]),
    bias=st.booleans(),
)
@settings(max_examples=60)
def test_what_is_safe_is_exact(  # noqa: PLR0917 (what is drawn)
    seed: int, nearness: float, units: list[float], origin: float, l2: float, bias: bool
) -> None:
    # given a feature that is nearly another one, in all units and off the origin
    plane = noisy_plane(60, 4, seed=seed)
    x = plane.x.copy()
    x[:, 3] = x[:, 0] + 10**nearness * x[:, 3]
    data = Data((x + origin) * 10 ** np.array(units), plane.y)

    found = around(data, l2, bias=bias)

    # then eigenvalues are right to as many digits as the dtype's fits need, or it is said
    eigenvalues = 2 * found[1].scale ** 2
    exact = exact_eigenvalues(data, l2, bias=bias)
    error = max(float(abs(a - b) / b) for a, b in zip(eigenvalues.tolist(), exact, strict=True))
    for dtype, tolerated in TOLERATED.items():
        assert error <= tolerated or not is_safe(found, dtype)


def test_what_has_no_variance_is_safe() -> None:
    # given an indicator for each of three texts, a constant, and a feature twice
    plane = noisy_plane(90, 3)
    texts = np.eye(3)[np.arange(90) % 3]
    x = np.column_stack([plane.x, texts, np.full(90, 0.1), plane.x[:, 1]])

    found = around(Data(x, plane.y))

    assert is_safe(found, "float64")
    assert (found[1].scale == 0).sum() == 3


def test_a_twin_that_differs_where_the_residuals_do_is_not() -> None:
    # given a feature's twin, a billionth of the target apart
    plane = noisy_plane(90, 3)
    x = np.column_stack([plane.x, plane.x[:, 0] + 1e-9 * plane.y[:, 0]])

    assert not is_safe(around(Data(x, plane.y)), "float64")


def test_it_is_the_loss() -> None:
    data = noisy_plane(80, 3, 2)
    _, spectrum = around(data, 0.3)
    place = np.random.default_rng(0).normal(size=(2, 4))
    weights = place @ spectrum.basis.T

    residuals = data.x @ weights[:, :3].T + weights[:, 3] - data.y
    expected = (residuals**2).mean() + 0.3 * (weights[:, :3] ** 2).sum()

    assert loss_at(spectrum, place) == pytest.approx(expected, rel=1e-13)
    assert loss_at(spectrum, np.zeros((2, 4))) == pytest.approx((data.y**2).mean(), rel=1e-13)
    assert loss_at(spectrum, best_place(spectrum)) == pytest.approx(spectrum.rest, rel=1e-13)


def descended(data: Data, **changes: Any) -> Result:
    return fit(specification(steps=30, **changes), data)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("scheduler", [None, "exponential"])
def test_filip_is_descended_step_by_step(
    standardize: bool, dtype: str, scheduler: str | None
) -> None:
    # given NIST's polynomial of degree 10, and a rate that it bears
    lr = 0.05 if standardize else 1e-20
    schedule = scheduler and {"kind": scheduler, "interval": "step", "gamma": 0.99}
    changes = {
        "standardize": standardize, "dtype": dtype, "optimizer": sgd(lr=lr),
        "scheduler": schedule,
    }  # fmt: skip

    result = descended(filip(), **changes)

    # then the fit is that of the compiled loop, to the bit
    assert (result.strategy, result.fallback) == ("kernels", "ill_conditioned")
    plain = descended(filip(), **changes, strategy="kernels")
    assert plain.fallback is None
    assert result.history.loss.tobytes() == plain.history.loss.tobytes()
    assert result.final_loss == plain.final_loss


def test_longley_in_its_own_units_is_descended_step_by_step() -> None:
    data = longley()["data"]

    result = descended(data, optimizer=sgd(lr=1e-12), strategy="spectral")

    assert (result.strategy, result.fallback) == ("kernels", "ill_conditioned")
    plain = descended(data, optimizer=sgd(lr=1e-12), strategy="kernels")
    assert result.weights["weight"].tobytes() == plain.weights["weight"].tobytes()


def test_longley_standardized_is_not() -> None:
    case = longley()

    result = fit(
        specification(
            steps=400_000, optimizer=sgd(lr=0.15, momentum=0.9), standardize=True,
            record={"every": 1_000, "weights": False, "gradients": False},
        ),
        case["data"],
    )  # fmt: skip

    # then it gets to the certified coefficients
    assert (result.strategy, result.fallback) == ("spectral", None)
    assert result.scaling is not None
    own = result.scaling.in_own_units(result.weights)
    found = [float(own["bias"][0]), *own["weight"][0]]
    np.testing.assert_allclose(found, case["certified"]["coefficients"], rtol=1e-9)
    sum_of_squares = case["certified"]["residual_sum_of_squares"]
    assert 16 * (result.final_loss or 0) == pytest.approx(sum_of_squares, rel=1e-10)


def near_twins() -> Data:
    plane = noisy_plane(90, 3)
    apart = np.random.default_rng(1).normal(size=90)
    return Data(np.column_stack([plane.x, plane.x[:, 0] + 1e-4 * apart]), plane.y)


def test_a_penalty_makes_near_twins_safe() -> None:
    assert descended(near_twins()).fallback == "ill_conditioned"
    assert descended(near_twins(), penalty={"l1": 0.0, "l2": 0.01}).fallback is None
    assert descended(near_twins(), dtype="float32").fallback is None


def test_the_number_of_steps_decides_nothing() -> None:
    results = [fit(specification(steps=steps), near_twins()) for steps in (1, 10_000)]

    assert {result.fallback for result in results} == {"ill_conditioned"}


def test_sums_that_are_not_finite_are_left_to_the_loop() -> None:
    # given squares that no float64 can hold, and none of them in the first loss
    data = Data(np.array([[1e200], [-1e200]]), np.ones((2, 1)))

    result = descended(data, init={"kind": "zeros"}, optimizer=sgd(lr=1e-300))

    assert (result.strategy, result.fallback) == ("kernels", "not_finite")
    assert result.status == "completed"

"""Every strategy gives the numbers of a hand-written PyTorch loop."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.given import FULL_BATCH, STRATEGIES, mapping, noisy_plane, sgd
from tests.workers.engine.plain import Floats, PlainFit, plain_fit
from workers.engine import Data, Result, Specification, fit


@st.composite
def optimizers(draw: st.DrawFn) -> dict[str, Any]:
    momentum = draw(st.sampled_from([0.0, 0.5, 0.9]))
    nesterov = momentum > 0 and draw(st.booleans())
    return sgd(
        lr=draw(st.floats(1e-4, 0.05)),
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=draw(st.sampled_from([0.0, 0.1])),
        dampening=0.0 if nesterov else draw(st.sampled_from([0.0, 0.3])),
    )


@st.composite
def fits(draw: st.DrawFn, *, whole: bool = False) -> tuple[dict[str, Any], Data]:
    """Fits in batches; on all rows at each step where they are `whole`."""
    data = noisy_plane(
        n_rows=draw(st.integers(10, 600)),
        n_features=draw(st.integers(1, 5)),
        n_targets=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 100)),
        weighted=draw(st.booleans()),
    )
    n_rows = len(data.x)
    batch_size = draw(st.none() | st.integers(n_rows if whole else 5, n_rows))
    long = n_rows if batch_size is None else batch_size
    length = (
        {"epochs": draw(st.integers(1, max(1, 60 * long // n_rows))), "steps": None}
        if draw(st.booleans())
        else {"epochs": None, "steps": draw(st.integers(1, 60))}
    )
    spec = mapping(
        model={"kind": "linear", "bias": draw(st.booleans())},
        optimizer=draw(optimizers()),
        batch_size=batch_size,
        shuffle=draw(st.booleans()),
        drop_last=draw(st.booleans()),
        seed=draw(st.integers(0, 2**63)),
        **length,
    )
    return spec, data


def compute(spec: dict[str, Any], data: Data, **changes: Any) -> Result:
    return fit(Specification.from_mapping(spec | changes), data)


def numbers(found: Result | PlainFit) -> list[Floats]:
    """All numbers of a fit that another strategy may be compared by."""
    history = found.history if isinstance(found, Result) else found
    final = np.array([found.final_loss])
    return [history.loss, history.grad_norm, *found.weights.values(), final]


def first_loss(plain: PlainFit) -> float:
    """The first loss that is not 0, as that of a batch without weight is."""
    return float(plain.loss[plain.loss > 0][0]) if plain.loss.any() else 1.0


def distance(found: Result | PlainFit, exact: PlainFit) -> float:
    """The largest relative difference; below a ten-thousandth of the first loss, of that.

    Of gradients' norms below a thousandth: at rest they are sums of numbers as large as the loss,
    and of that 1e-4, which float32 is allowed, is its rounding of these.
    """
    floor = 1e-4 * first_loss(exact)
    losses, norms, *others = zip(numbers(found), numbers(exact), strict=True)
    beside = [relative(*pair, floor) for pair in (losses, *others)]
    return max(*beside, relative(*norms, 10 * floor))


def relative(found: Floats, exact: Floats, floor: float) -> float:
    return float((np.abs(found - exact) / np.maximum(np.abs(exact), floor)).max())


@pytest.mark.parametrize("strategy", FULL_BATCH)
@given(drawn=st.data())
@settings(max_examples=40)
def test_float64_is_the_plain_loop(strategy: str, drawn: st.DataObject) -> None:
    # given a fit, and the same in a plain loop
    spec, data = drawn.draw(fits(whole=strategy not in STRATEGIES))
    result = compute(spec, data, strategy=strategy)
    plain = plain_fit(spec, data, result.initial_weights, "float64")

    # then every number agrees to 1e-9, or to 1e-12 of the first loss
    for found, exact in zip(numbers(result), numbers(plain), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12 * first_loss(plain))
    assert result.n_steps == len(plain.loss)
    assert result.status == "completed"
    assert result.strategy == strategy


@pytest.mark.parametrize("strategy", FULL_BATCH)
@given(drawn=st.data())
@settings(max_examples=40)
def test_float32_is_as_near_as_the_plain_loop(strategy: str, drawn: st.DataObject) -> None:
    # given a float32 fit, and plain loops in both precisions
    spec, data = drawn.draw(fits(whole=strategy not in STRATEGIES))
    result = compute(spec, data, strategy=strategy, dtype="float32")
    exact = plain_fit(spec, data, result.initial_weights, "float64")
    plain = plain_fit(spec, data, result.initial_weights, "float32")

    # then it is near the float64 loop, or at most twice as far as the float32 loop is
    assert distance(result, exact) <= max(1e-4, 2 * distance(plain, exact))
    assert all(w.dtype == np.float32 for w in result.weights.values())


@pytest.mark.parametrize("strategy", FULL_BATCH)
@pytest.mark.parametrize("n_features", [1, 40])
def test_more_rows_than_a_tile_holds(strategy: str, n_features: int) -> None:
    # given more rows than the kernels take at once, in batches and whole
    data = noisy_plane(n_rows=1_003, n_features=n_features, n_targets=2)
    for batch_size in (None, 300, 1_003, 5_000) if strategy in STRATEGIES else (None, 5_000):
        spec = mapping(batch_size=batch_size, optimizer=sgd(momentum=0.9))

        # when they are fitted
        result = compute(spec, data, strategy=strategy)

        # then the numbers are the plain loop's
        plain = plain_fit(spec, data, result.initial_weights, "float64")
        for found, exact in zip(numbers(result), numbers(plain), strict=True):
            np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12 * first_loss(plain))

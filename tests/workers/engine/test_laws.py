"""What holds of every descent, whatever the numbers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.workers.engine.given import FULL_BATCH, STRATEGIES, noisy_plane, sgd, specification
from tests.workers.engine.least import LBFGS, found
from workers.engine import Data, Result, fit

ZEROS = {"kind": "zeros"}
EVERY_STRATEGY = pytest.mark.parametrize("strategy", FULL_BATCH)
FEW = settings(max_examples=15)


@st.composite
def planes(draw: st.DrawFn) -> Data:
    return noisy_plane(
        n_rows=draw(st.integers(10, 300)),
        n_features=draw(st.integers(1, 4)),
        n_targets=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 1_000)),
        weighted=draw(st.booleans()),
    )


def batch_size_of(strategy: str, in_batches: bool) -> int | None:
    """A closed form has no batches."""
    return 7 if in_batches and strategy in STRATEGIES else None


def computed(data: Data, strategy: str, **changes: Any) -> Result:
    return fit(specification(strategy=strategy, **changes), data)


def assert_near(ours: Any, theirs: Any, scale: float = 1.0) -> None:
    """The same but for rounding, of numbers of about this size."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12 * scale)


def taken(rows: Any, data: Data) -> Data:
    return Data(data.x[rows], data.y[rows], None if data.weight is None else data.weight[rows])


@EVERY_STRATEGY
@given(data=planes(), seed=st.integers(0, 1_000))
@FEW
def test_the_order_of_the_rows_is_nothing_to_a_full_batch(
    strategy: str, data: Data, seed: int
) -> None:
    other = taken(np.random.default_rng(seed).permutation(len(data.x)), data)

    one, same = (computed(rows, strategy, optimizer=sgd(momentum=0.9)) for rows in (data, other))

    assert_near(same.history.loss, one.history.loss)
    assert_near(same.history.grad_norm, one.history.grad_norm)
    assert_near(same.weights["weight"], one.weights["weight"])


@EVERY_STRATEGY
@given(data=planes(), seed=st.integers(0, 1_000))
@FEW
def test_the_order_of_the_features_is_that_of_the_weights(
    strategy: str, data: Data, seed: int
) -> None:
    order = np.random.default_rng(seed).permutation(data.x.shape[1])
    other = Data(data.x[:, order], data.y, data.weight)

    one, same = (computed(rows, strategy, init=ZEROS) for rows in (data, other))

    assert_near(same.weights["weight"], one.weights["weight"][:, order])
    assert_near(same.history.loss, one.history.loss)


@EVERY_STRATEGY
@given(
    data=planes(),
    factor=st.floats(0.01, 100.0) | st.floats(-100.0, -0.01),
    in_batches=st.booleans(),
)
@FEW
def test_targets_in_other_units_have_weights_in_other_units(
    strategy: str, data: Data, factor: float, in_batches: bool
) -> None:
    # given a start at 0, which is 0 in all units
    changes: dict[str, Any] = {"init": ZEROS, "batch_size": batch_size_of(strategy, in_batches)}
    scaled = Data(data.x, factor * data.y, data.weight)

    one, same = (computed(rows, strategy, **changes) for rows in (data, scaled))

    for name, weight in one.weights.items():
        assert_near(same.weights[name], factor * weight, abs(factor))
    assert_near(same.history.loss, factor**2 * one.history.loss, factor**2)


@EVERY_STRATEGY
@given(
    data=planes(),
    units=st.lists(st.floats(0.01, 100) | st.floats(-100, -0.01), min_size=4, max_size=4),
    origins=st.lists(st.floats(-100, 100), min_size=4, max_size=4),
)
@FEW
def test_standardized_features_may_be_in_any_units(
    strategy: str, data: Data, units: list[float], origins: list[float]
) -> None:
    # given the same features by other scales, like °F for °C
    d = data.x.shape[1]
    factor, origin = np.array(units[:d]), np.array(origins[:d])
    other = Data(data.x * factor + origin, data.y, data.weight)
    changes = {"standardize": True, "init": ZEROS, "optimizer": sgd(lr=0.05, momentum=0.5)}

    one, same = (computed(rows, strategy, **changes) for rows in (data, other))

    # then the loss goes the same way, and the coefficients differ by the units alone
    np.testing.assert_allclose(same.history.loss, one.history.loss, rtol=1e-8)
    in_one, in_other = own(one), own(same)
    weight = in_other["weight"] * factor
    np.testing.assert_allclose(weight, in_one["weight"], rtol=1e-7, atol=1e-9)
    bias = in_other["bias"] + in_other["weight"] @ origin
    np.testing.assert_allclose(bias, in_one["bias"], rtol=1e-7, atol=1e-9)


def own(result: Result) -> dict[str, NDArray[Any]]:
    assert result.scaling is not None
    return result.scaling.in_own_units(result.weights)


@EVERY_STRATEGY
@given(data=planes(), in_batches=st.booleans())
@FEW
def test_each_target_descends_as_if_alone(strategy: str, data: Data, in_batches: bool) -> None:
    # given that the loss is a mean over targets, of which each has its share
    k = data.y.shape[1]
    changes: dict[str, Any] = {"init": ZEROS, "batch_size": batch_size_of(strategy, in_batches)}

    together = computed(data, strategy, optimizer=sgd(lr=0.01 * k), **changes)

    losses = []
    for j in range(k):
        one = Data(data.x, data.y[:, [j]], data.weight)
        alone = computed(one, strategy, optimizer=sgd(lr=0.01), **changes)
        assert_near(together.weights["weight"][[j]], alone.weights["weight"])
        assert_near(together.weights["bias"][[j]], alone.weights["bias"])
        losses.append(alone.history.loss)
    assert_near(together.history.loss, np.mean(losses, axis=0))


@EVERY_STRATEGY
@given(data=planes(), share=st.floats(0.01, 0.99))
@FEW
def test_no_step_raises_the_loss_below_the_largest_stable_lr(
    strategy: str, data: Data, share: float
) -> None:
    best = found(data)

    result = computed(data, strategy, optimizer=sgd(lr=share * best.max_stable_lr))

    losses = np.array([*result.history.loss, result.final_loss])
    assert (np.diff(losses) <= 1e-14 * losses[0]).all()
    assert losses[-1] >= best.loss * (1 - 1e-12)


@pytest.mark.parametrize("loss", [{"kind": "mse"}, {"kind": "huber", "delta": 1.0}])
@given(data=planes(), l2=st.floats(0.0, 2.0), more=st.floats(1e-3, 2.0))
@FEW
def test_a_larger_penalty_leaves_smaller_weights(
    loss: dict[str, Any], data: Data, l2: float, more: float
) -> None:
    # given rows enough that the best weights are one point without a penalty too
    assume(data.weight is None or (data.weight > 0).sum() > 2 * data.x.shape[1])

    ends = [
        computed(
            data, "auto", loss=loss, optimizer=LBFGS, steps=5, penalty={"l1": 0.0, "l2": penalty}
        )
        for penalty in (l2, l2 + more)
    ]

    less, most = (np.linalg.norm(end.weights["weight"]) for end in ends)
    assert most < less

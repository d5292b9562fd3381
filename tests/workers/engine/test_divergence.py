"""A fit that leaves the finite numbers keeps what it had before."""

import numpy as np
import pytest

from tests.workers.engine.given import BATCHED, FULL_BATCH, mapping, noisy_plane, sgd, specification
from tests.workers.engine.plain import plain_fit
from workers.engine import Data, fit


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("strategy", "batch_size"), BATCHED)
def test_the_first_step_that_is_not_finite_ends_the_fit(
    strategy: str, dtype: str, batch_size: int | None
) -> None:
    # given a learning rate far too large
    changes = {"optimizer": sgd(lr=5.0), "batch_size": batch_size, "steps": 2_000, "dtype": dtype}
    data = noisy_plane()

    # when it is fitted
    result = fit(specification(strategy=strategy, **changes), data)

    # then it ends at the step at which the plain loop's loss overflows
    plain = plain_fit(mapping(**changes), data, result.initial_weights, dtype)
    step = int(np.argmin(np.isfinite(plain.loss)))
    assert result.status == "diverged"
    assert result.failed_step == result.n_steps == step

    # and the finite losses before it stay
    np.testing.assert_allclose(result.history.loss, plain.loss[:step], rtol=1e-3)
    assert np.isfinite(result.history.epochs_train_loss).all()
    before = fit(specification(strategy=strategy, **changes | {"steps": step}), data)
    for name, weight in before.weights.items():
        np.testing.assert_array_equal(result.weights[name], weight)
        assert np.isfinite(weight).all()


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_a_weight_that_overflows_is_undone(strategy: str) -> None:
    # given a first update that no float32 can hold, from a loss that one can
    data = Data(x=np.full((4, 1), 1e3), y=np.full((4, 1), 1e15))
    spec = specification(
        optimizer=sgd(lr=1e30), init={"kind": "zeros"}, dtype="float32", strategy=strategy
    )

    # when it is fitted
    result = fit(spec, data)

    # then step 0 failed, its loss is known and its weights are the initial ones
    assert (result.status, result.failed_step, result.n_steps) == ("diverged", 0, 0)
    np.testing.assert_allclose(result.history.loss, [1e30], rtol=1e-6)
    assert result.weights["weight"] == result.initial_weights["weight"]
    assert result.final_loss == pytest.approx(1e30, rel=1e-6)


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_a_first_loss_that_is_not_finite_leaves_no_history(strategy: str) -> None:
    # given a target whose square no float32 can hold
    data = Data(x=np.ones((4, 1)), y=np.full((4, 1), 1e30))

    # when it is fitted
    result = fit(specification(dtype="float32", strategy=strategy), data)

    # then nothing was done, and nothing is claimed
    assert (result.status, result.failed_step, result.n_steps) == ("diverged", 0, 0)
    assert len(result.history.loss) == len(result.history.epochs_epoch) == 0
    assert result.final_loss is None


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_data_past_the_dtype_diverge_at_once(strategy: str) -> None:
    # given a feature that is infinite in float32
    data = Data(x=np.full((4, 1), 1e300), y=np.ones((4, 1)))

    # then a float32 fit ends at step 0
    assert fit(specification(dtype="float32", strategy=strategy), data).failed_step == 0

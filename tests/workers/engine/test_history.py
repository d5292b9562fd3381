"""What the history keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.given import FULL_BATCH, STRATEGIES, noisy_plane, sgd, specification
from workers.engine import History, fit


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(every=st.integers(1, 30), steps=st.integers(1, 25))
@settings(max_examples=20)
def test_every_mth_step_is_kept(strategy: str, every: int, steps: int) -> None:
    # given a fit recorded whole, and the same recorded every so many steps
    def history_of(m: int) -> History:
        record = {"every": m, "weights": False, "gradients": False}
        spec = specification(record=record, steps=steps, batch_size=7, strategy=strategy)
        return fit(spec, noisy_plane()).history

    whole, thinned = history_of(1), history_of(every)

    # then the steps 0, m, 2m, … are those of the whole
    assert thinned.step.tolist() == list(range(0, steps, every))
    for name in ("step", "epoch", "loss", "lr", "grad_norm"):
        np.testing.assert_array_equal(getattr(thinned, name), getattr(whole, name)[::every])

    # and an epoch's loss does not depend on it
    np.testing.assert_array_equal(thinned.epochs_train_loss, whole.epochs_train_loss)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("drop_last", [False, True])
def test_an_epochs_loss_is_weighted_by_its_batches(strategy: str, drop_last: bool) -> None:
    # given 50 rows in batches of 20, and a last epoch cut short
    steps = 7
    spec = specification(batch_size=20, drop_last=drop_last, steps=steps, strategy=strategy)

    # when they are fitted
    history = fit(spec, noisy_plane(n_rows=50)).history

    # then the small batch counts for less, and is not there where it is dropped
    sizes = np.resize([20, 20] if drop_last else [20, 20, 10], steps)
    epochs = np.arange(steps) // (2 if drop_last else 3)
    assert history.epoch.tolist() == epochs.tolist()
    assert history.epochs_epoch.tolist() == sorted(set(epochs))
    expected = [
        np.average(history.loss[epochs == e], weights=sizes[epochs == e]) for e in set(epochs)
    ]
    np.testing.assert_allclose(history.epochs_train_loss, expected, rtol=1e-12)
    assert np.isnan(history.epochs_validation_loss).all()


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_a_full_batch_epoch_is_its_step(strategy: str) -> None:
    history = fit(specification(epochs=9, strategy=strategy), noisy_plane()).history
    np.testing.assert_array_equal(history.epochs_train_loss, history.loss)
    np.testing.assert_array_equal(history.epoch, history.step)


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_the_learning_rate_stands_beside_every_step(strategy: str) -> None:
    spec = specification(optimizer=sgd(lr=0.125), steps=3, strategy=strategy)
    assert fit(spec, noisy_plane()).history.lr.tolist() == [0.125] * 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_final_loss_is_over_the_whole_set(strategy: str) -> None:
    # given a fit in batches
    data = noisy_plane()
    result = fit(specification(batch_size=7, strategy=strategy), data)

    # then its final loss is that of its weights on every row
    predicted = data.x @ result.weights["weight"].T + result.weights["bias"]
    assert result.final_loss == pytest.approx(((data.y - predicted) ** 2).mean(), rel=1e-12)

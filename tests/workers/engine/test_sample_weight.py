"""Sample weights: what they mean, held against scikit-learn and against repeated rows."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tests.workers.engine.given import (
    FULL_BATCH,
    STRATEGIES,
    mapping,
    noisy_plane,
    sgd,
    specification,
)
from tests.workers.engine.plain import plain_fit
from workers.engine import Data, fit


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_the_optimum_is_weighted_least_squares(strategy: str) -> None:
    data = noisy_plane(200, weighted=True)
    spec = specification(strategy=strategy, steps=3000, optimizer=sgd(lr=0.1))

    weights = fit(spec, data).weights
    best = LinearRegression().fit(data.x, data.y, sample_weight=data.weight)

    np.testing.assert_allclose(weights["weight"], best.coef_, rtol=1e-9)
    np.testing.assert_allclose(weights["bias"], best.intercept_, rtol=1e-9)


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_a_whole_weight_counts_like_a_repeated_row(strategy: str) -> None:
    plain = noisy_plane(40, n_targets=2)
    times = np.arange(40) % 4
    spec = specification(strategy=strategy, steps=50)

    weighted = fit(spec, Data(plain.x, plain.y, times.astype(float)))
    repeated = fit(spec, Data(plain.x.repeat(times, axis=0), plain.y.repeat(times, axis=0)))

    np.testing.assert_allclose(weighted.history.loss, repeated.history.loss, rtol=1e-9)
    np.testing.assert_allclose(weighted.history.grad_norm, repeated.history.grad_norm, rtol=1e-9)
    assert weighted.final_loss == pytest.approx(repeated.final_loss, rel=1e-9)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_batch_that_counts_nothing_has_no_loss_and_pulls_nowhere(strategy: str) -> None:
    plain = noisy_plane(20)
    weight = np.repeat([0.0, 1.0], 10)
    spec = specification(strategy=strategy, steps=2, batch_size=10, shuffle=False)

    result = fit(spec, Data(plain.x, plain.y, weight))

    assert result.status == "completed"
    assert result.history.loss[0] == 0
    assert result.history.grad_norm[0] == 0
    assert result.history.loss[1] > 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_update_on_a_batch_that_counts_nothing_is_made_all_the_same(strategy: str) -> None:
    # given batches that count nothing after some that do, momentum and weight decay
    plain = noisy_plane(60, n_targets=2)
    data = Data(plain.x, plain.y, np.tile(np.repeat([1.0, 0.0], 10), 3))
    spec = mapping(
        batch_size=10,
        shuffle=False,
        steps=14,
        optimizer=sgd(lr=0.05, momentum=0.9, weight_decay=0.1),
    )

    # when they are fitted
    result = fit(specification(**spec | {"strategy": strategy}), data)

    # then the weights have moved on as a plain loop moves them
    exact = plain_fit(spec, data, result.initial_weights, "float64")
    np.testing.assert_allclose(result.history.loss, exact.loss, rtol=1e-9)
    for name, weight in exact.weights.items():
        np.testing.assert_allclose(result.weights[name], weight, rtol=1e-9)


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_weights_are_rounded_to_the_dtype(strategy: str) -> None:
    # given weights that no float32 holds, and the nearest ones that it does
    plain = noisy_plane(40)
    weight = np.random.default_rng(1).uniform(0.1, 1, 40)
    spec = specification(strategy=strategy, dtype="float32")

    # then the bits are the same
    rounded = weight.astype(np.float32).astype(np.float64)
    fits = [fit(spec, Data(plain.x, plain.y, w)) for w in (weight, rounded)]
    assert fits[0].history.loss.tobytes() == fits[1].history.loss.tobytes()


@pytest.mark.parametrize("unusable", [-1e-9, np.nan, np.inf])
def test_a_weight_below_0_or_not_finite_is_refused(unusable: float) -> None:
    plain = noisy_plane(20)

    with pytest.raises(ValueError, match="finite, and 0 or more"):
        Data(plain.x, plain.y, np.append(np.ones(19), unusable))


def test_rows_that_all_count_nothing_are_refused() -> None:
    plain = noisy_plane(20)

    with pytest.raises(ValueError, match="all 0"):
        fit(specification(), Data(plain.x, plain.y, np.zeros(20)))


def test_a_weight_of_another_length_is_refused() -> None:
    plain = noisy_plane(20)

    with pytest.raises(ValueError, match=r"weight must be \(20,\)"):
        Data(plain.x, plain.y, np.ones(19))

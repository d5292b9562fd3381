"""Sample weights: what they mean, held against scikit-learn and against repeated rows."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tests.workers.engine.given import STRATEGIES, noisy_plane, sgd, specification
from workers.engine import Data, fit


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_optimum_is_weighted_least_squares(strategy: str) -> None:
    data = noisy_plane(200, weighted=True)
    spec = specification(strategy=strategy, steps=3000, optimizer=sgd(lr=0.1))

    weights = fit(spec, data).weights
    best = LinearRegression().fit(data.x, data.y, sample_weight=data.weight)

    np.testing.assert_allclose(weights["weight"], best.coef_, rtol=1e-9)
    np.testing.assert_allclose(weights["bias"], best.intercept_, rtol=1e-9)


@pytest.mark.parametrize("strategy", STRATEGIES)
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


def test_a_weight_of_another_length_is_refused() -> None:
    plain = noisy_plane(20)

    with pytest.raises(ValueError, match=r"weight must be \(20,\)"):
        Data(plain.x, plain.y, np.ones(19))

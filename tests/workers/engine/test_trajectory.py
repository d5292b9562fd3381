"""The weights and the gradients at every recorded step."""

from typing import Any

import numpy as np
import pytest

from tests.workers.engine.given import (
    BATCHED,
    FULL_BATCH,
    STRATEGIES,
    noisy_plane,
    sgd,
    specification,
)
from workers.engine import Trajectory, fit

IN_BATCHES = [("spectral", None), *((name, 8) for name in STRATEGIES)]


def record(every: int = 1, *, weights: bool = True, gradients: bool = True) -> dict[str, Any]:
    return {"every": every, "weights": weights, "gradients": gradients}


def trajectory(**changes: Any) -> Trajectory:
    written = fit(specification(**changes), noisy_plane(n_targets=2)).trajectory
    assert written is not None
    return written


@pytest.mark.parametrize(("strategy", "batch_size"), BATCHED)
def test_each_entry_leads_to_the_next(strategy: str, batch_size: int | None) -> None:
    result = fit(
        specification(strategy=strategy, batch_size=batch_size, record=record()), noisy_plane()
    )
    written = result.trajectory

    assert written is not None
    np.testing.assert_array_equal(written.step, result.history.step)
    for name, weights in written.weights.items():
        np.testing.assert_array_equal(weights[0], result.initial_weights[name])
        after = np.concatenate([weights[1:], result.weights[name][None]])
        np.testing.assert_allclose(after, weights - 0.01 * written.gradients[name], rtol=1e-12)
    parts = [gradient.reshape(20, -1) for gradient in written.gradients.values()]
    norms = np.linalg.norm(np.hstack(parts), axis=1)
    np.testing.assert_allclose(norms, result.history.grad_norm, rtol=1e-12)


@pytest.mark.parametrize(("strategy", "batch_size"), IN_BATCHES)
@pytest.mark.parametrize("every", [3, 7, 20, 21])
def test_a_sparse_record_is_a_part_of_the_whole_one(
    strategy: str, batch_size: int | None, every: int
) -> None:
    changes = {"strategy": strategy, "batch_size": batch_size, "optimizer": sgd(momentum=0.9)}
    whole = trajectory(record=record(), **changes)

    sparse = trajectory(record=record(every), **changes)

    assert sparse.step.tolist() == list(range(0, 20, every))
    for name, weights in whole.weights.items():
        np.testing.assert_array_equal(sparse.weights[name], weights[::every])
        np.testing.assert_array_equal(sparse.gradients[name], whole.gradients[name][::every])


@pytest.mark.parametrize(("strategy", "batch_size"), IN_BATCHES)
def test_looking_changes_nothing(strategy: str, batch_size: int | None) -> None:
    changes = {"strategy": strategy, "batch_size": batch_size}
    unseen = fit(specification(**changes), noisy_plane())

    seen = fit(specification(record=record(), **changes), noisy_plane())

    assert unseen.trajectory is None
    np.testing.assert_array_equal(seen.history.loss, unseen.history.loss)
    np.testing.assert_array_equal(seen.weights["weight"], unseen.weights["weight"])


@pytest.mark.parametrize("kind", ["sgd", "lbfgs"])
def test_gradients_are_those_before_clipping_and_searching(kind: str) -> None:
    lbfgs = {
        "kind": "lbfgs", "lr": 1.0, "max_iter": 4, "max_eval": None, "tolerance_grad": 1e-12,
        "tolerance_change": 1e-12, "history_size": 10, "line_search_fn": None,
    }  # fmt: skip
    optimizer = sgd() if kind == "sgd" else lbfgs
    result = fit(
        specification(record=record(), clip_grad_norm=0.1, optimizer=optimizer, steps=3),
        noisy_plane(),
    )
    data, written = noisy_plane(), result.trajectory

    assert written is not None
    for t in range(3):
        predicted = data.x @ written.weights["weight"][t].T + written.weights["bias"][t]
        expected = 2 * (predicted - data.y).T @ data.x / len(data.x)
        np.testing.assert_allclose(written.gradients["weight"][t], expected, atol=1e-12)


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_a_divergence_ends_it_with_the_history(strategy: str) -> None:
    result = fit(
        specification(
            strategy=strategy, record=record(), dtype="float32", optimizer=sgd(lr=50.0), steps=500
        ),
        noisy_plane(),
    )

    assert result.status == "diverged"
    assert result.trajectory is not None
    n = len(result.history.step)
    assert all(len(w) == n for w in result.trajectory.weights.values())
    assert all(len(g) == n for g in result.trajectory.gradients.values())


def test_a_converged_fit_ends_it_with_the_history() -> None:
    result = fit(
        specification(record=record(), optimizer=sgd(lr=0.1), tolerance=1e-3, steps=5000),
        noisy_plane(),
    )

    assert result.status == "converged"
    assert result.trajectory is not None
    assert len(result.trajectory.weights["bias"]) == len(result.history.step)


def test_only_what_was_asked_for_is_kept() -> None:
    assert not trajectory(record=record(gradients=False)).gradients
    assert not trajectory(record=record(weights=False)).weights

"""Losses and gradients at given weights, outside of any fit."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.workers.engine.given import noisy_plane, sgd, specification
from tests.workers.engine.test_by_hand import MODELS, WORKED
from tests.workers.engine.test_streaming import Watched
from workers.engine import Data, check_gradients, fit, loss_over

MLP = {
    "kind": "mlp", "hidden": [6, 4], "activation": "tanh", "dropout": 0.0, "batch_norm": False,
    "output": "auto",
}  # fmt: skip
ADAM = {"kind": "adam", "lr": 0.01}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch_size": 32},
        {"batch_size": 7, "drop_last": True, "strategy": "reference"},
        {"batch_size": 7, "strategy": "streaming"},
        {"standardize": True},
        {"standardize": True, "optimizer": ADAM, "batch_size": 16, "epochs": 2},
        {"penalty": {"l1": 0.1, "l2": 0.2}},
        {"model": MLP | {"dropout": 0.3, "batch_norm": True}, "batch_size": 32},
        {"scheduler": {"kind": "exponential", "gamma": 0.9, "interval": "epoch"}},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_over_the_fits_own_rows_the_loss_is_the_final_one(
    changes: dict[str, Any], dtype: str, *, weighted: bool
) -> None:
    data = noisy_plane(203, 5, 2, weighted=weighted)
    spec = specification(**changes, dtype=dtype)
    result = fit(spec, data)

    assert loss_over(spec, result.weights, data, result.scaling) == result.final_loss


@pytest.mark.parametrize("changes", [{}, {"optimizer": ADAM}, {"model": MLP, "batch_size": 4096}])
def test_many_rows_are_summed_as_the_fit_sums_them(changes: dict[str, Any]) -> None:
    data = noisy_plane(70_001, 3)
    spec = specification(**changes, standardize=True, dtype="float32") if changes else (
        specification(steps=2)
    )  # fmt: skip
    in_memory, streamed = fit(spec, data), fit(spec, Watched(data))

    for result, rows in ((in_memory, data), (streamed, Watched(data))):
        assert loss_over(spec, result.weights, rows, result.scaling) == result.final_loss


def test_held_out_rows_do_not_change_how_the_others_are_summed() -> None:
    data, others = noisy_plane(100, 5), noisy_plane(30, 5, seed=1)
    spec = specification(validation={"dataset": "ds_2"})

    result = fit(spec, data, held_out=others)

    assert loss_over(spec, result.weights, data) == result.final_loss


@pytest.mark.parametrize("strategy", ["auto", "reference", "kernels", "streaming"])
def test_other_rows_may_be_few_or_too_many_for_memory(strategy: str) -> None:
    data = noisy_plane(40, 2)
    spec = specification(batch_size=16, drop_last=True, strategy=strategy)
    weights = fit(spec, data).weights

    for n_rows in (1, 3, 17):
        few = data.read(0, n_rows)
        expected = np.mean((few.y - few.x @ weights["weight"].T - weights["bias"]) ** 2)
        assert loss_over(spec, weights, few) == pytest.approx(expected, rel=1e-12)
        assert loss_over(spec, weights, Watched(few)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", WORKED)
def test_gradients_are_those_of_the_pencil(kind: str) -> None:
    (x, y), n_classes, arguments, loss, slopes, biases = WORKED[kind]
    spec = specification(
        model={"kind": MODELS.get(kind, "linear"), "bias": True}, loss={"kind": kind} | arguments
    )
    n_scores = n_classes if kind == "cross_entropy" else None
    data = Data(np.array(x)[:, None], np.array(y)[:, None], n_classes=n_scores)
    weights = {"weight": np.zeros((len(slopes), 1)), "bias": np.zeros(len(biases))}

    found = check_gradients(spec, weights, data)

    assert found.loss == pytest.approx(loss)
    np.testing.assert_allclose(found.gradients["weight"][:, 0], slopes, atol=1e-12)
    np.testing.assert_allclose(found.gradients["bias"], biases, atol=1e-12)
    np.testing.assert_allclose(found.numerical["weight"][:, 0], slopes, atol=1e-5)
    np.testing.assert_allclose(found.numerical["bias"], biases, atol=1e-5)
    assert found.max_relative_error < 1e-5


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_networks_gradient_agrees_with_its_differences(
    *, batch_norm: bool, dropout: float
) -> None:
    data = noisy_plane(30, 3, 2, weighted=True)
    model = MLP | {"dropout": dropout, "batch_norm": batch_norm}
    spec = specification(model=model, penalty={"l1": 0.01, "l2": 0.1}, dtype="float32")
    weights = spec.init.weights(spec.model, data.shape, "float64", 3)

    found = check_gradients(spec, weights, data)

    trained = [name for name in weights if "running" not in name]
    assert sorted(found.gradients) == sorted(found.numerical) == sorted(trained)
    assert all(found.gradients[name].shape == weights[name].shape for name in trained)
    assert found.max_relative_error < 1e-5


def test_the_penalty_pulls_at_weights_alone() -> None:
    data = Data(np.zeros((1, 2)), np.zeros((1, 1)))
    weights = {"weight": np.array([[3.0, -2.0]]), "bias": np.array([0.0])}

    found = check_gradients(specification(penalty={"l1": 0.5, "l2": 0.1}), weights, data)

    # 0.5·(3 + 2) + 0.1·(9 + 4); ±0.5 + 0.2·w
    assert found.loss == pytest.approx(3.8)
    np.testing.assert_allclose(found.gradients["weight"], [[1.1, -0.9]])
    assert found.gradients["bias"] == [0]


def test_a_loss_that_is_not_finite_has_no_error_that_is() -> None:
    data = Data(np.array([[1e200]]), np.array([[0.0]]))

    found = check_gradients(specification(), {"weight": np.array([[1e200]]), "bias": np.ones(1)},
                            data)  # fmt: skip

    assert not np.isfinite(found.loss)
    assert not np.isfinite(found.max_relative_error)


def test_threads_stay_as_they_were() -> None:
    data = noisy_plane(10, 2)
    spec = specification(optimizer=sgd())
    before = torch.get_num_threads()

    check_gradients(spec, {"weight": np.ones((1, 2)), "bias": np.zeros(1)}, data)
    loss_over(spec, {"weight": np.ones((1, 2)), "bias": np.zeros(1)}, data)

    assert torch.get_num_threads() == before

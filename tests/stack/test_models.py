"""Other models, losses and rules on the real service, beside scikit-learn's."""

from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_iris, make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tests.stack.given import WAIT


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [
        ({"kind": "adam", "lr": 0.1}, {"kind": "cosine", "T_max": 50, "interval": "step"}),
        ({"kind": "lbfgs", "line_search_fn": "strong_wolfe"}, None),
        ({"kind": "rmsprop"}, {"kind": "one_cycle", "max_lr": 0.1, "interval": "step"}),
    ],
)
def test_other_rules_reach_the_same_line(
    client: httpx.Client, optimizer: dict[str, Any], scheduler: dict[str, Any] | None
) -> None:
    spec = {
        "dataset": {"columns": {"x": [-1, 0, 1, 2], "y": [1, 3, 5, 7]}},
        "target": "y",
        "loss": {"kind": "huber", "delta": 5},
        "optimizer": optimizer,
        "scheduler": scheduler,
        "steps": 500,
        "dtype": "float64",
    }

    fit = client.post("/v1/fits", json=spec, headers={"Prefer": "wait=30"}).json()

    assert fit["status"] == "succeeded", fit
    assert fit["coefficients"] == pytest.approx({"intercept": 3, "x": 2}, abs=0.05)
    again = client.post("/v1/fits", json=fit["spec"], headers={"Prefer": "wait=30"}).json()
    assert again["spec"] == fit["spec"]
    assert again["weights"] == fit["weights"]
    rates = client.get(f"/v1/fits/{fit['id']}/history.json").json()["lr"]
    assert (len(set(rates)) > 1) == (scheduler is not None)


LBFGS = {"kind": "lbfgs", "tolerance_grad": 1e-12, "tolerance_change": 1e-15}


def classify(client: httpx.Client, columns: dict[str, Any], **spec: Any) -> dict[str, Any]:
    body = {"dataset": {"columns": columns}, "target": "label", "dtype": "float64"} | spec
    answer = client.post("/v1/fits", json=body, headers={"Prefer": "wait=60"})
    fit: dict[str, Any] = answer.json()
    assert fit["status"] == "succeeded", fit
    return fit


def test_logistic_regression_is_scikit_learns(client: httpx.Client) -> None:
    x, y = make_blobs(120, centers=[[0, 0], [2, 1]], cluster_std=1.5, random_state=0)
    columns = {"a": x[:, 0].tolist(), "b": x[:, 1].tolist()}
    columns["label"] = np.array(["no", "yes"])[y].tolist()

    # scikit-learn's C weighs the sum of the losses, the penalty here their mean
    fit = classify(
        client, columns, model={"kind": "logistic"}, optimizer=LBFGS, steps=30,
        penalty={"l2": 0.5 / (120 * 0.1)},
    )  # fmt: skip

    best = LogisticRegression(C=0.1, tol=1e-12, solver="newton-cholesky").fit(x, y)
    fitted = [fit["coefficients"][name] for name in ("intercept", "a", "b")]
    assert fitted == pytest.approx([best.intercept_[0], *best.coef_[0]], rel=1e-5)
    train = fit["metrics"]["train"]
    assert train["accuracy"] == pytest.approx(best.score(x, y))
    assert train["roc_auc"] == pytest.approx(roc_auc_score(y, best.decision_function(x)), abs=1e-6)
    assert np.sum(train["confusion_matrix"]) == 120
    assert list(fit["plots"]) == ["loss", "boundary", "confusion", "roc"]


def test_softmax_on_iris_is_scikit_learns(client: httpx.Client) -> None:
    iris = load_iris()
    columns = {name: iris.data[:, j].tolist() for j, name in enumerate(iris.feature_names)}
    columns["label"] = iris.target_names[iris.target].tolist()

    fit = classify(
        client, columns, model={"kind": "softmax"}, optimizer=LBFGS, steps=60,
        penalty={"l2": 0.5 / 150},
    )  # fmt: skip

    best = LogisticRegression(tol=1e-10, max_iter=10_000).fit(iris.data, iris.target)
    assert list(fit["coefficients"]) == list(iris.target_names)
    for row, name in enumerate(iris.target_names):
        fitted = [fit["coefficients"][name][feature] for feature in iris.feature_names]
        assert fitted == pytest.approx(best.coef_[row], rel=1e-3, abs=1e-4)
    assert fit["metrics"]["train"]["accuracy"] == pytest.approx(best.score(iris.data, iris.target))


def test_numbers_are_classes_too(client: httpx.Client) -> None:
    columns = {"x": [-2, -1, 1, 2], "label": [5, 5, 7, 7]}

    adam = {"kind": "adam", "lr": 0.1}

    margin = classify(client, columns, loss={"kind": "hinge"}, optimizer=adam, steps=300)
    odds = classify(client, columns, model={"kind": "logistic"}, steps=10)

    assert margin["metrics"]["train"]["accuracy"] == 1
    assert margin["metrics"]["train"]["log_loss"] is None
    assert margin["final_loss"] < 0.01
    assert set(odds["coefficients"]) == {"intercept", "x"}


def test_a_network_approximates_a_sine(client: httpx.Client) -> None:
    generator = {"kind": "sine", "n": 200, "noise": 0.05, "frequency": 1.5}
    spec = {
        "dataset": {"generator": generator},
        "target": "y",
        "model": {"kind": "mlp", "hidden": [16, 16], "activation": "tanh"},
        "optimizer": {"kind": "adam", "lr": 0.02},
        "steps": 1500,
    }

    fit = client.post("/v1/fits", json=spec, headers={"Prefer": "wait=60"}).json()

    assert fit["status"] == "succeeded", fit
    assert fit["metrics"]["train"]["r2"] > 0.97
    assert fit["coefficients"] is None
    assert fit["diagnostics"]["n_parameters"] == 2 * 16 + 17 * 16 + 17
    assert list(fit["weights"])[:2] == ["layers.0.weight", "layers.0.bias"]
    assert list(fit["plots"]) == ["loss", "fit", "residuals", "predicted"]
    assert client.get(fit["plots"]["loss"]).status_code == 200
    given = fit["spec"] | {"init": {"weights": fit["weights"]}, "steps": 1}
    more = client.post("/v1/fits", json=given, headers={"Prefer": "wait=60"}).json()
    assert more["loss_history"]["loss"][0] == pytest.approx(fit["final_loss"], rel=1e-6)


def test_a_standardized_fit_is_in_the_datas_own_units(client: httpx.Client) -> None:
    x = np.linspace(1000, 2000, 50)
    columns = {"x": x.tolist(), "y": (3 * x - 7).tolist()}
    spec = {
        "dataset": {"columns": columns},
        "target": "y",
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "standardize": True,
        "tolerance": 1e-8,
        "steps": 10_000,
        "dtype": "float64",
    }

    fit = client.post("/v1/fits", json=spec, headers=WAIT).json()

    assert (fit["status"], fit["stop_reason"]) == ("succeeded", "converged")
    assert fit["progress"]["fraction"] == 1
    assert fit["progress"]["step"] == fit["loss_history"]["n"] < 1000
    assert fit["coefficients"] == pytest.approx({"intercept": -7, "x": 3}, rel=1e-6)
    assert fit["metrics"]["train"]["r2"] == pytest.approx(1)
    assert client.get(fit["plots"]["fit"]).status_code == 200


def test_held_out_rows_have_metrics_of_their_own(client: httpx.Client) -> None:
    iris = load_iris()
    columns = {name: iris.data[:, j].tolist() for j, name in enumerate(iris.feature_names)}
    columns["label"] = iris.target_names[iris.target].tolist()

    fit = classify(
        client, columns, model={"kind": "mlp", "hidden": [8], "activation": "tanh"},
        loss={"kind": "cross_entropy"}, optimizer={"kind": "adam", "lr": 0.05}, batch_size=16,
        epochs=200, standardize=True, validation={"fraction": 0.2, "stratify": True},
        early_stopping={"patience": 10},
    )  # fmt: skip

    assert fit["stop_reason"] == "early_stopped"
    train, held_out = fit["metrics"]["train"], fit["metrics"]["validation"]
    assert [sum(row) for row in held_out["confusion_matrix"]] == [10, 10, 10]
    assert [sum(row) for row in train["confusion_matrix"]] == [40, 40, 40]
    assert held_out["accuracy"] > 0.85
    history = client.get(f"/v1/fits/{fit['id']}/history.json").json()["epochs"]
    losses = history["validation_loss"]
    assert np.argmin(losses) == len(losses) - 11
    assert held_out["log_loss"] == pytest.approx(min(losses), rel=1e-9)

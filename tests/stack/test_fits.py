"""Fits over HTTP on the real service: what a user sees."""

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.numpy
import torch
from sklearn.datasets import load_iris, make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

NOTEBOOK = json.loads((Path(__file__).parent.parent / "cases" / "notebook_seed42.json").read_text())
WAIT = {"Prefer": "wait=30"}
GIVEN = {"weights": {"weight": [[-3.0]], "bias": [-2.0]}}


@pytest.fixture(scope="module")
def notebook(client: httpx.Client) -> str:
    x = [row[1] for row in NOTEBOOK["x"]]
    answer = client.post("/v1/datasets", json={"columns": {"x": x, "y": NOTEBOOK["y"]}})
    assert answer.status_code == 201
    return str(answer.json()["id"])


def spec(dataset: str, **changes: Any) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "target": "y",
        "optimizer": {"kind": "sgd", "lr": 0.01},
        "steps": 100,
        "init": GIVEN,
        "dtype": "float64",
    } | changes


def fit(client: httpx.Client, dataset: str, **changes: Any) -> dict[str, Any]:
    answer = client.post("/v1/fits", json=spec(dataset, **changes), headers=WAIT)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def history(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = client.get(body["artifacts"]["history"]["json"]).json()
    return columns


@pytest.mark.parametrize(
    "run", NOTEBOOK["runs"], ids=lambda r: f"{r['dtype']}-{r['steps']}-{r['lr']}"
)
def test_the_notebooks_numbers_come_back(
    client: httpx.Client, notebook: str, run: dict[str, Any]
) -> None:
    body = fit(
        client,
        notebook,
        optimizer={"kind": "sgd", "lr": run["lr"]},
        steps=run["steps"],
        dtype=run["dtype"],
    )

    rtol = 1e-9 if run["dtype"] == "float64" else 1e-4
    losses = [*history(client, body)["loss"], body["final_loss"]]
    assert body["status"] == "succeeded"
    assert len(losses) == run["steps"] + 1
    np.testing.assert_allclose(np.take(losses, run["loss_at"]), run["loss"], rtol=rtol)
    fitted = [body["coefficients"]["intercept"], body["coefficients"]["x"]]
    np.testing.assert_allclose(fitted, run["w"], rtol=rtol)


def test_csv_and_json_are_the_same_dataset(client: httpx.Client, notebook: str) -> None:
    lines = ["x,y", *(f"{r[1]!r},{y!r}" for r, y in zip(NOTEBOOK["x"], NOTEBOOK["y"], strict=True))]
    answer = client.post(
        "/v1/datasets", content="\r\n".join(lines), headers={"Content-Type": "text/csv"}
    )

    assert answer.status_code == 201
    kept = client.get(f"/v1/datasets/{notebook}").json()
    assert answer.json()["digest"] == kept["digest"]
    assert answer.json()["columns"] == kept["columns"]
    assert answer.headers["Location"].endswith(answer.json()["id"])


def test_mini_batches_follow_the_documented_shuffle(client: httpx.Client, notebook: str) -> None:
    body = fit(client, notebook, steps=None, epochs=3, batch_size=32, seed=5,
               optimizer={"kind": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True,
                          "weight_decay": 0.01})  # fmt: skip

    x = torch.tensor([[r[1]] for r in NOTEBOOK["x"]], dtype=torch.float64)
    y = torch.tensor(NOTEBOOK["y"], dtype=torch.float64)[:, None]
    model = torch.nn.Linear(1, 1, dtype=torch.float64)
    model.load_state_dict({"weight": torch.tensor([[-3.0]]), "bias": torch.tensor([-2.0])})
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01
    )
    losses = []
    for epoch in range(3):
        generator = torch.Generator().manual_seed((2654435761 * 5 + epoch) % 2**32)
        order = torch.randperm(100, generator=generator)
        for rows in (order[first : first + 32] for first in range(0, 100, 32)):
            loss = torch.nn.functional.mse_loss(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    kept = history(client, body)
    np.testing.assert_allclose(kept["loss"], losses, rtol=1e-9)
    assert kept["epoch"] == [0] * 4 + [1] * 4 + [2] * 4
    assert len(kept["epochs"]["train_loss"]) == 3
    np.testing.assert_allclose(body["weights"]["weight"], model.weight.tolist(), rtol=1e-9)


def test_default_weights_are_torchs_own_draws(client: httpx.Client, notebook: str) -> None:
    body = fit(client, notebook, init={"kind": "default"}, seed=7, dtype="float32",
               optimizer={"kind": "sgd", "lr": 0.0}, steps=1)  # fmt: skip

    torch.manual_seed(7)
    drawn = torch.nn.Linear(1, 1)
    assert body["weights"] == {"weight": drawn.weight.tolist(), "bias": drawn.bias.tolist()}


def test_the_same_spec_gives_the_same_bits_alone_and_in_a_crowd(
    client: httpx.Client, notebook: str
) -> None:
    alone = fit(
        client, notebook, batch_size=7, steps=500, dtype="float32", init={"kind": "default"}
    )

    def again(_: int) -> dict[str, Any]:
        return fit(client, notebook, batch_size=7, steps=500, dtype="float32",
                   init={"kind": "default"})  # fmt: skip

    with ThreadPoolExecutor(8) as pool:
        crowd = list(pool.map(again, range(24)))

    assert all(b["weights"] == alone["weights"] for b in crowd)
    assert all(b["fingerprint"] == alone["fingerprint"] for b in crowd)
    digests = {client.get(b["artifacts"]["history"]["csv"]).headers["ETag"] for b in crowd}
    assert len(digests) == 1


def test_divergence_fails_loudly_and_keeps_what_was(client: httpx.Client, notebook: str) -> None:
    body = fit(client, notebook, optimizer={"kind": "sgd", "lr": 50.0}, steps=1000)

    kept = history(client, body)
    assert (body["status"], body["stop_reason"]) == ("failed", "diverged")
    assert body["error"]["code"] == "diverged"
    assert body["error"]["category"] == "user"
    assert len(kept["loss"]) in (body["error"]["step"], body["error"]["step"] + 1)
    assert np.isfinite(kept["loss"]).all()
    assert np.isfinite(body["weights"]["weight"]).all()
    assert client.get(body["plots"]["loss"]).status_code == 200


def test_artifacts_say_the_same_in_every_format(client: httpx.Client, notebook: str) -> None:
    body = fit(client, notebook, steps=1500)
    urls = body["artifacts"]

    rows = list(csv.DictReader(io.StringIO(client.get(urls["history"]["csv"]).text)))
    columns = history(client, body)
    as_json = client.get(urls["weights"]["json"]).json()
    tensors = safetensors.numpy.load(client.get(urls["weights"]["safetensors"]).content)
    arrays = np.load(io.BytesIO(client.get(urls["weights"]["npz"]).content), allow_pickle=False)

    assert [float(r["loss"]) for r in rows] == columns["loss"]
    assert [int(r["step"]) for r in rows] == columns["step"] == list(range(1500))
    assert as_json == body["weights"]
    assert {k: v.tolist() for k, v in tensors.items()} == as_json
    assert {k: v.tolist() for k, v in arrays.items()} == as_json
    assert body["loss_history"]["n"] == 1500
    assert body["loss_history"]["thinned"]
    assert len(body["loss_history"]["loss"]) == 1000
    assert body["loss_history"]["loss"][0] == columns["loss"][0]
    assert body["loss_history"]["loss"][-1] == columns["loss"][-1]


def test_metrics_are_of_the_data(client: httpx.Client, notebook: str) -> None:
    body = fit(client, notebook, steps=7000)

    train = body["metrics"]["train"]
    assert train["mse"] == pytest.approx(body["final_loss"], rel=1e-9)
    assert train["mse"] == pytest.approx(NOTEBOOK["ols"]["mse"], rel=1e-6)
    assert set(train) == {"mse", "rmse", "mae", "r2", "max_error"}


@pytest.mark.parametrize("kind", ["loss", "fit"])
@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures_are_drawn_and_kept(
    client: httpx.Client, notebook: str, kind: str, suffix: str, start: bytes
) -> None:
    body = fit(client, notebook)
    url = body["plots"][kind].removesuffix("png") + suffix

    first = client.get(url)
    again = client.get(url)

    assert first.status_code == 200, first.text
    assert first.content.startswith(start)
    assert again.content == first.content


def test_no_long_fit_stands_before_a_picture(client: httpx.Client, notebook: str) -> None:
    # given an ended fit, and more long ones than the workers can compute at once
    url = fit(client, notebook)["plots"]["loss"]
    endless = spec(notebook, steps=5_000_000, strategy="reference")
    long = [client.post("/v1/fits", json=endless).json()["urls"] for _ in range(9)]

    # when its picture is asked for
    picture = client.get(url, params={"width": 801})

    # then it comes
    for urls in long:
        client.post(urls["cancel"])
    assert picture.status_code == 200
    assert picture.content.startswith(b"\x89PNG")


def test_a_plot_that_does_not_suit_is_told_with_those_that_do(client: httpx.Client) -> None:
    dataset = {"columns": {"a": [1, 2, 4], "b": [2, 1, 3], "y": [1, 2, 3]}}
    body = fit(client, dataset, init={"kind": "zeros"})  # type: ignore[arg-type]

    answer = client.get(body["urls"]["self"] + "/plots/fit.png")

    assert set(body["plots"]) == {"loss", "residuals", "predicted"}
    assert answer.status_code == 404
    assert answer.json()["code"] == "plot_not_applicable"
    assert "loss" in answer.json()["detail"]


def test_a_thousand_fits_at_once_all_end_exactly(client: httpx.Client, notebook: str) -> None:
    rates = [0.0005 * (i % 200 + 1) for i in range(1000)]

    def submit(lr: float) -> str:
        answer = client.post("/v1/fits", json=spec(notebook, optimizer={"kind": "sgd", "lr": lr}))
        assert answer.status_code == 202
        return str(answer.json()["id"])

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(submit, rates))
    for fit_id in ids:
        while client.get(f"/v1/fits/{fit_id}", headers=WAIT).json()["status"] in (
            "queued", "running",
        ):  # fmt: skip
            pass
    bodies = [
        body
        for i in range(0, 1000, 100)
        for body in client.get("/v1/fits", params={"ids": ",".join(ids[i : i + 100])}).json()[
            "data"
        ]
    ]

    assert [b["id"] for b in bodies] == ids
    assert {b["status"] for b in bodies} == {"succeeded"}
    by_rate: dict[float, set[float]] = {}
    for lr, body in zip(rates, bodies, strict=True):
        by_rate.setdefault(lr, set()).add(body["final_loss"])
    assert all(len(losses) == 1 for losses in by_rate.values())
    assert len(by_rate) == 200


def test_as_many_ids_as_are_taken_fit_into_a_request(client: httpx.Client, notebook: str) -> None:
    first = fit(client, notebook)["id"]
    other = first[:-1] + ("0" if first[-1] != "0" else "1")

    found = client.get("/v1/fits", params={"ids": ",".join([first] * 200)})
    missing = client.get("/v1/fits", params={"ids": ",".join([other] * 200)})
    refused = client.get("/v1/fits", params={"ids": ",".join([first] * 201)})

    assert [one["id"] for one in found.json()["data"]] == [first] * 200
    assert missing.status_code == 404
    assert refused.json()["errors"][0]["code"] == "too_many_ids"


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

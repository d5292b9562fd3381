"""The notebook's fit over HTTP on the real service: what a user sees."""

import csv
import io
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.numpy
import torch

from tests.stack.notebook import NOTEBOOK, fit, history, spec


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

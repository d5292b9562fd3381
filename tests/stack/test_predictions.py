"""Predictions over HTTP on the real service: every form of rows in, every form of answers out."""

import csv
import gzip
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from service.predictions import PREDICTION_TYPES
from service.schemas.answers.models import Predictions
from tests.service.tables.given import CSV, FORMS, NPY, saved
from tests.stack.given import (
    LONG,
    NETWORK,
    NEW,
    cancel_running,
    fit,
    refused,
    rows_of,
    url,
)

JSON = "application/json"
MOST_WORKERS = 8


@pytest.fixture(scope="module")
def line(client: httpx.Client, training: str) -> Any:
    return fit(client, training, standardize=True)


@pytest.fixture(scope="module")
def by_hand(line: Any) -> list[float]:
    """The line's predictions for NEW, from the coefficients alone."""
    named = line["coefficients"]
    return [
        named["intercept"] + named["x"] * x + named["z"] * z + named[f"colour={colour}"]
        for x, z, colour in zip(NEW["x"], NEW["z"], NEW["colour"], strict=True)
    ]


def predict(client: httpx.Client, body: Any, **request: Any) -> Any:
    answer = client.post(f"{url(body)}/predictions", json=request)
    assert answer.status_code == 200, answer.text
    Predictions.model_validate(answer.json())
    return answer.json()


def send(client: httpx.Client, body: Any, content: bytes, media_type: str, **more: Any) -> Any:
    headers = {"Content-Type": media_type} | more.pop("headers", {})
    return client.post(f"{url(body)}/predictions", content=content, headers=headers, **more)


def test_every_json_form_is_predicted_for(
    client: httpx.Client, line: Any, by_hand: list[float]
) -> None:
    stored = client.post("/v1/datasets", json={"columns": NEW}).json()["id"]

    said = [
        predict(client, line, features=NEW),
        predict(client, line, features={name: NEW[name] for name in ("z", "colour", "x")}),
        predict(client, line, rows=rows_of(NEW)),
        predict(client, line, dataset=stored),
        predict(client, line, dataset={"columns": NEW}),
        predict(client, line, dataset={"rows": rows_of(NEW)}),
        predict(client, line, features=NEW | {"y": [0, 0, 0]}),
    ]

    assert said[0]["predictions"] == pytest.approx(by_hand, rel=1e-12)
    assert set(said[0]) == {"predictions"}
    assert all(one == said[0] for one in said)


@pytest.mark.parametrize("form", FORMS)
def test_every_table_is_predicted_for(
    client: httpx.Client, line: Any, by_hand: list[float], form: str
) -> None:
    content, media_type = FORMS[form](NEW)
    zipped = gzip.compress(content)
    packed: bytes = pa.compress(content, codec="zstd", asbytes=True)

    answers = [
        send(client, line, content, media_type),
        send(client, line, zipped, media_type, headers={"Content-Encoding": "gzip"}),
        send(client, line, packed, media_type, headers={"Content-Encoding": "zstd"}),
        client.post(f"{url(line)}/predictions", files={"file": ("new", content, media_type)}),
    ]

    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == pytest.approx(by_hand, rel=1e-12)


def test_a_csv_is_read_as_the_query_says(
    client: httpx.Client, line: Any, by_hand: list[float]
) -> None:
    gaps = b"x;z;colour\n0.5;0;blue\n1;;red\n-1.25;1.5;red\n1;nan;red\n3;-2;red\n"

    dropped = send(client, line, gaps, CSV, params={"delimiter": ";", "missing": "drop"})
    kept = send(client, line, gaps, CSV, params={"delimiter": ";"})
    inline = client.post(
        f"{url(line)}/predictions?missing=drop", json={"rows": [*rows_of(NEW), {"x": None}]}
    )
    holes = {name: [*cells, None] for name, cells in NEW.items()}
    with_holes = client.post(f"{url(line)}/predictions?missing=drop", json={"features": holes})

    assert dropped.json()["predictions"] == pytest.approx(by_hand, rel=1e-12)
    assert with_holes.json()["predictions"] == pytest.approx(by_hand, rel=1e-12)
    (first, *_) = refused(kept, 422)["errors"]
    assert (first["code"], first["row"], first["column"]) == ("missing_value", 1, "z")
    assert refused(inline, 422)["errors"][0]["pointer"] == "/rows/3"


def test_an_array_has_numbered_columns(client: httpx.Client, line: Any) -> None:
    x = np.random.default_rng(4).normal(size=(20, 2))
    columns = {"0": x[:, 0].tolist(), "1": x[:, 1].tolist(), "y": (x @ [2, -1]).tolist()}
    numbered = fit(client, {"columns": columns}, features=["0", "1"], steps=300)
    array = saved(lambda file: np.save(file, np.array([[1.0, 2.0], [3.0, 4.0]])))

    answer = send(client, numbered, array, NPY)
    headless = send(client, numbered, b"1,2\n3,4\n", CSV, params={"header": "false"})
    other = refused(send(client, line, array, NPY), 422)

    c = numbered["coefficients"]
    expected = [c["intercept"] + a * c["0"] + b * c["1"] for a, b in ((1, 2), (3, 4))]
    assert answer.json()["predictions"] == pytest.approx(expected, rel=1e-12)
    assert headless.json() == answer.json()
    assert "the column 'x' is missing; there are '0', '1'" in other["detail"]
    assert [e["column"] for e in other["errors"]] == ["x", "colour", "z"]


def as_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


READ: dict[str, Callable[[bytes], list[dict[str, Any]]]] = {
    "text/csv": as_csv,
    "application/vnd.apache.parquet": lambda content: pyarrow.parquet.read_table(
        io.BytesIO(content)
    ).to_pylist(),
    "application/vnd.apache.arrow.file": lambda content: (
        pa.ipc.open_file(content).read_all().to_pylist()
    ),
    "application/vnd.apache.arrow.stream": lambda content: (
        pa.ipc.open_stream(content).read_all().to_pylist()
    ),
}


@pytest.mark.parametrize("media_type", READ)
def test_predictions_come_in_every_form(
    client: httpx.Client, training: str, media_type: str
) -> None:
    assert {*READ, JSON} == {*PREDICTION_TYPES}
    odds = fit(client, training, target="label", model={"kind": "logistic"})
    several = fit(client, training, target=["y", "y2"])
    said, numbers = predict(client, odds, features=NEW), predict(client, several, features=NEW)

    def rows(body: Any) -> list[dict[str, Any]]:
        answer = client.post(
            f"{url(body)}/predictions", json={"features": NEW}, headers={"Accept": media_type}
        )
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].split(";")[0] == media_type
        assert "Accept" in answer.headers["Vary"].split(", ")
        return READ[media_type](answer.content)

    for row, label, likely in zip(
        rows(odds), said["predictions"], said["probabilities"], strict=True
    ):
        assert row["prediction"] == label
        assert [float(row[f"probability={one}"]) for one in said["classes"]] == likely
    assert [[float(row[name]) for name in ("y", "y2")] for row in rows(several)] == (
        numbers["predictions"]
    )


def test_another_form_is_not_acceptable(client: httpx.Client, line: Any) -> None:
    answer = client.post(
        f"{url(line)}/predictions", json={"features": NEW}, headers={"Accept": "image/png"}
    )

    assert "text/csv" in refused(answer, 406)["detail"]


@pytest.mark.parametrize(
    ("spec", "classes", "probable"),
    [
        ({"target": "label", "model": {"kind": "logistic"}}, ["no", "yes"], True),
        ({"target": "label", "model": NETWORK, "loss": {"kind": "bce"}}, ["no", "yes"], True),
        ({"target": "label", "loss": {"kind": "hinge"}}, ["no", "yes"], False),
        ({"target": "third", "model": {"kind": "softmax"}}, [5, 6, 7], True),
        ({"target": "third", "model": NETWORK, "loss": {"kind": "cross_entropy"}},
         [5, 6, 7], True),
    ],
)  # fmt: skip
def test_classes_are_named_and_probable(
    client: httpx.Client, training: str, spec: dict[str, Any], classes: list[Any], probable: bool
) -> None:
    body = fit(client, training, standardize=True, **spec)

    said = predict(client, body, features=NEW)

    assert said["classes"] == classes
    if not probable:
        assert "probabilities" not in said
        assert {*said["predictions"]} <= {*classes}
        return
    likely = np.array(said["probabilities"])
    assert likely.shape == (3, len(classes))
    np.testing.assert_allclose(likely.sum(axis=1), 1)
    assert said["predictions"] == [classes[i] for i in likely.argmax(axis=1)]


def test_other_models_predict_numbers(client: httpx.Client, training: str) -> None:
    numbers = {"features": {"x": [0.5, -1.0], "z": [2.0, 0.25]}}
    two: dict[str, Any] = {"features": ["x", "z"], "steps": 50}
    rates = fit(client, training, target="count", loss={"kind": "poisson"}, **two)
    curve = fit(client, training, model={"kind": "polynomial", "degree": 2}, **two)
    network = fit(client, training, model=NETWORK, target=["y", "y2"], **two)

    c = rates["coefficients"]
    expected = [np.exp(c["intercept"] + c["x"] * x + c["z"] * z) for x, z in ((0.5, 2), (-1, 0.25))]
    assert predict(client, rates, **numbers)["predictions"] == pytest.approx(expected, rel=1e-12)
    c = curve["coefficients"]
    expected = [
        c["intercept"] + c["x"] * x + c["z"] * z
        + c["x^2"] * x * x + c["x*z"] * x * z + c["z^2"] * z * z
        for x, z in ((0.5, 2), (-1, 0.25))
    ]  # fmt: skip
    assert predict(client, curve, **numbers)["predictions"] == pytest.approx(expected, rel=1e-12)
    w = {name: np.array(array) for name, array in network["weights"].items()}
    hidden = np.tanh(np.array([[0.5, 2], [-1, 0.25]]) @ w["layers.0.weight"].T + w["layers.0.bias"])
    np.testing.assert_allclose(
        predict(client, network, **numbers)["predictions"],
        hidden @ w["layers.1.weight"].T + w["layers.1.bias"],
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"features": NEW | {"X": [1, 2, 3]}}, [("unknown_column", "/features/X")]),
        ({"features": {"X": [1], "z": [1], "colour": ["red"]}},
         [("unknown_column", "/features/X"), ("missing_column", "/features/x")]),
        ({"rows": [{"x": 1, "colour": "red"}]}, [("missing_column", "/rows/0/z")]),
        ({"features": NEW | {"colour": ["red", "mauve", "red"]}},
         [("unknown_category", "/features/colour/1")]),
        ({"rows": [*rows_of(NEW), {"x": 1, "colour": "pink", "z": 1}]},
         [("unknown_category", "/rows/3/colour")]),
        ({"dataset": {"columns": NEW | {"colour": ["red", "red", "pink"]}}},
         [("unknown_category", "/dataset/columns/colour/2")]),
        ({"features": NEW | {"x": ["a", "b", "c"]}}, [("unsuitable_column", "/features/x")]),
        ({"features": NEW | {"x": [1, None, 3]}}, [("missing_value", "/features/x/1")]),
        ({"features": NEW | {"x": [1, 2]}}, [("ragged_column", "/features/x")]),
        ({"feature": NEW}, [("unknown_field", "/feature")]),
        ({"features": NEW, "rows": rows_of(NEW)}, [("one_form", "")]),
        ({}, [("one_form", "")]),
        ({"features": {}}, [("too_short", "/features")]),
    ],
)  # fmt: skip
def test_what_cannot_be_predicted_for_is_pointed_at(
    client: httpx.Client, line: Any, request_: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    body = refused(client.post(f"{url(line)}/predictions", json=request_), 422)

    assert [(e["code"], e["pointer"]) for e in body["errors"]] == expected


def test_an_uploads_unseen_category_has_its_row(client: httpx.Client, line: Any) -> None:
    table = b"x,z,colour\n1,2,red\n3,4,mauve\n"

    uploaded = refused(send(client, line, table, CSV), 422)
    stored = client.post("/v1/datasets", content=table, headers={"Content-Type": CSV}).json()
    named = refused(client.post(f"{url(line)}/predictions", json={"dataset": stored["id"]}), 422)

    (error,) = uploaded["errors"]
    assert (error["code"], error["row"], error["column"]) == ("unknown_category", 1, "colour")
    assert "'mauve'" in error["detail"]
    assert [e["pointer"] for e in named["errors"]] == ["/dataset"]


def test_a_misspelt_feature_is_told_with_its_name(client: httpx.Client, line: Any) -> None:
    misspelt = NEW | {"color": NEW["colour"]}
    del misspelt["colour"]

    body = refused(client.post(f"{url(line)}/predictions", json={"features": misspelt}), 422)

    assert "did you mean 'colour'?" in body["detail"]


def test_while_every_worker_is_busy_other_requests_go_on(
    client: httpx.Client, line: Any, by_hand: list[float], training: str
) -> None:
    spec = {"dataset": training, "features": ["x", "z"], "target": "y"} | LONG
    busy = [client.post("/v1/fits", json=spec).json() for _ in range(MOST_WORKERS)]

    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(predict, client, line, features=NEW) for _ in range(40)]
        time.sleep(1)
        began = time.monotonic()
        assert client.get(url(line)).status_code == 200
        seconds = time.monotonic() - began
        for one in busy:
            client.post(f"{url(one)}/cancel")
        answers = [one.result()["predictions"] for one in waiting]

    assert seconds < 1
    assert all(one == pytest.approx(by_hand, rel=1e-12) for one in answers)


def test_a_fit_predicts_once_it_has_weights(client: httpx.Client, training: str) -> None:
    waiting = client.post(
        "/v1/fits",
        json={"dataset": training, "features": ["x", "z"], "target": "y"} | LONG,
    ).json()
    features = {"x": [1.0], "z": [0.0]}
    early = client.post(f"{url(waiting)}/predictions", json={"features": features})
    evaluated = client.post(f"{url(waiting)}/evaluations", json={"dataset": training})
    cancelled = cancel_running(client, waiting)
    diverged = fit(client, training, status="failed", features=["x", "z"],
                   optimizer={"kind": "sgd", "lr": 100.0})  # fmt: skip
    weightless = fit(client, training, status="failed", features=["x", "z"], dtype="float32",
                     init={"weights": {"weight": [[1e300, 0]], "bias": [0]}})  # fmt: skip

    assert "no weights" in refused(early, 409)["detail"]
    refused(evaluated, 409)
    for body in (cancelled, diverged):
        c = body["coefficients"]
        assert predict(client, body, features=features)["predictions"] == pytest.approx(
            [c["intercept"] + c["x"]], rel=1e-6
        )
    answer = client.post(f"{url(weightless)}/predictions", json={"features": features})
    assert "no weights: it is failed" in refused(answer, 409)["detail"]
    refused(client.post("/v1/fits/fit_none/predictions", json={"features": features}), 404)

"""Tables over a real connection: what is cut off on its way, and fits on what is whole."""

import gzip
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import OneHotEncoder

from service.demo import NOTEBOOK
from tests.service.tables.given import PARQUET, as_parquet

CHUNKED = "Transfer-Encoding: chunked"


def send(url: str, header: str, body: bytes) -> bytes:
    """The answer to a request whose connection ends with these bytes."""
    host, port = url.removeprefix("http://").split(":")
    head = "POST /v1/datasets HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nConnection: close"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}\r\n{header}\r\n\r\n".encode() + body)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("header", "body", "status"),
    [
        (CHUNKED, b"4\r\nx\n1\n\r\n0\r\n\r\n", 201),
        (CHUNKED, b"4\r\nx\n1\n\r\n5\r\n1", 400),
        (CHUNKED, b"4\r\nx\n1\n\r\n", 400),
        (CHUNKED, b"zz\r\nx\n1\n\r\n", 400),
        ("Content-Length: 4", b"x\n1\n", 201),
        ("Content-Length: 1000", b"x\n1\n", 400),
        ("Content-Length: 99999999999", b"x\n1\n", 413),
    ],
)
def test_a_body_is_whole_or_refused(
    service_url: str, client: httpx.Client, header: str, body: bytes, status: int
) -> None:
    def newest() -> Any:
        return client.get("/v1/datasets?limit=1").json()["data"]

    before = newest()

    answer = send(service_url, header, body)

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (newest() == before) == (status != 201)


@pytest.mark.parametrize("header", ["Content-Length: 3000000000", CHUNKED])
def test_a_connection_that_ends_with_a_refusal_is_said_to(service_url: str, header: str) -> None:
    # given a body of a type that is not read, large or of any size
    host, port = service_url.removeprefix("http://").split(":")
    head = f"POST /v1/datasets HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n{header}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(65536)

    # then no client sends its next request over it
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b"connection: close" in answer.lower()


def test_a_connection_outlives_a_small_refused_body(client: httpx.Client) -> None:
    answer = client.post("/v1/datasets", content=b"x", headers={"Content-Type": "image/png"})

    assert (answer.status_code, answer.headers["Connection"]) == (415, "keep-alive")


def fitted(client: httpx.Client, **spec: Any) -> dict[str, Any]:
    answer = client.post("/v1/fits", json=spec, headers={"Prefer": "wait=30"})
    assert answer.status_code == 200, answer.text
    fit: dict[str, Any] = answer.json()
    assert fit["status"] == "succeeded", fit["error"]
    return fit


def test_categories_and_weights_are_scikit_learns(client: httpx.Client) -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=200), rng.uniform(0, 2, 200)
    colour = rng.choice(["red", "green", "blue"], 200)
    y = 2 * x + (colour == "red") - 3.0 * (colour == "blue") + 0.1 * rng.normal(size=200)
    columns = {"x": x, "colour": colour, "y": y, "w": weight}
    content = as_parquet(columns)
    dataset = client.post("/v1/datasets", content=content, headers={"Content-Type": PARQUET}).json()

    spec = {
        "optimizer": {"kind": "sgd", "lr": 0.3},
        "model": {"kind": "linear", "bias": False},
        "sample_weight": "w",
        "steps": 5000,
        "dtype": "float64",
    }
    fit = fitted(client, dataset=dataset["id"], target="y", **spec)

    encoder = OneHotEncoder(sparse_output=False)
    design = np.column_stack([x, encoder.fit_transform(colour[:, None])])
    best = LinearRegression(fit_intercept=False).fit(design, y, sample_weight=weight)
    assert list(fit["coefficients"]) == ["x", "colour=blue", "colour=green", "colour=red"]
    np.testing.assert_allclose(list(fit["coefficients"].values()), best.coef_, rtol=1e-8)
    assert list(fit["plots"]) == ["loss", "residuals", "predicted"]
    assert client.get(fit["plots"]["residuals"]).status_code == 200


def test_the_same_table_gives_the_same_bits_from_every_form(client: httpx.Client) -> None:
    drawn = client.post("/v1/datasets", json={"generator": NOTEBOOK}).json()
    spec = {"target": "y", "steps": 50, "dtype": "float64"}
    expected = fitted(client, dataset=drawn["id"], **spec)["loss_history"]

    inline = fitted(client, dataset={"generator": NOTEBOOK}, **spec)
    forms = []
    for media_type in ("text/csv", PARQUET, "application/vnd.apache.arrow.file"):
        content = client.get(
            f"/v1/datasets/{drawn['id']}/content", headers={"Accept": media_type}
        ).content
        again = client.post(
            "/v1/datasets",
            content=gzip.compress(content),
            headers={"Content-Type": media_type, "Content-Encoding": "gzip"},
        ).json()
        assert again["digest"] == drawn["digest"]
        forms.append(fitted(client, dataset=again["id"], **spec))

    assert all(fit["loss_history"] == expected for fit in (inline, *forms))


def test_streamed_mini_batches_are_those_of_memory(client: httpx.Client) -> None:
    generator = {"kind": "linear", "n": 5000, "coef": [1, -2, 3], "noise": 0.5}
    dataset = client.post("/v1/datasets", json={"generator": generator}).json()["id"]
    spec = {"dataset": dataset, "target": "y", "epochs": 2, "batch_size": 64}

    streamed, plain = (fitted(client, strategy=s, **spec) for s in ("streaming", "reference"))

    assert streamed["fingerprint"]["strategy"] == "streaming"
    for part in ("loss_history", "weights"):
        assert streamed[part] == plain[part]


def test_curl_uploads_a_file_and_gets_it_back(service_url: str, tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(as_parquet({"x": pa.array([0.1, 0.2]), "c": ["a", "b"]}))

    def curl(*arguments: str) -> str:
        return subprocess.run(
            ["curl", "-sf", *arguments], capture_output=True, check=True, text=True
        ).stdout

    made = curl(f"{service_url}/v1/datasets", "-F", f"file=@{path}")
    dataset = made.split('"id":"')[1].split('"')[0]

    assert curl(f"{service_url}/v1/datasets/{dataset}/content") == '"x","c"\n0.1,"a"\n0.2,"b"\n'

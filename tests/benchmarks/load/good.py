"""What clients with good manners ask for: every sort of request, with the answer that it is due."""

import gzip
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import orjson

from tests.benchmarks.load.client import JSON, Client
from tests.benchmarks.load.operations import Mixture
from tests.service.tables.given import CSV, FORMS, NDJSON

WAIT = {"Prefer": "wait=30"}
_STREAM = {"Accept": "text/event-stream"}
_N_ROWS = 40
_FORMS = sorted(FORMS)
# As long as a descent can be that a client does not want any more, were it forgotten.
_LONG: dict[str, Any] = {
    "steps": 1_000_000, "strategy": "reference", "limits": {"max_seconds": 20}
}  # fmt: skip
_ENDED = ("succeeded", "failed", "cancelled")


def columns(client: Client) -> dict[str, list[float]]:
    """A line with noise that no other has."""
    x = [client.dice.uniform(-1, 1) for _ in range(_N_ROWS)]
    return {"x": x, "y": [2 * value + 3 + client.dice.random() for value in x]}


def spec(client: Client, **changes: Any) -> dict[str, Any]:
    """A fit's body that asks for little."""
    return {
        "dataset": client.dataset,
        "target": "y",
        "steps": client.dice.randint(10, 200),
        "seed": client.dice.randrange(10**6),
        "dtype": client.dice.choice(["float32", "float64"]),
    } | changes


def wait_for_fit(client: Client) -> None:
    """Post a fit and wait for its end."""
    _waited(client, "fit, waited for", spec(client))


def wait_for_inline_fit(client: Client) -> None:
    """Post a fit with its table."""
    _waited(client, "fit, inline", spec(client, dataset={"columns": columns(client)}))


def wait_for_network(client: Client) -> None:
    """Post a perceptron's fit by mini-batches, validated."""
    changes: dict[str, Any] = {
        "model": {"kind": "mlp", "hidden": [8], "activation": "tanh"},
        "optimizer": {"kind": "adam", "lr": 0.01},
        "batch_size": 8,
        "validation": {"fraction": 0.2},
        "record": {"weights": True},
    }
    _waited(client, "fit, network", spec(client, **changes))


def _waited(client: Client, operation: str, body: dict[str, Any]) -> None:
    answer = client.call(operation, "POST /v1/fits", body, WAIT, expect=(200, 202))
    if answer is None or answer.status != 200:
        return
    fit = answer.json()
    if fit["status"] == "succeeded":
        client.remember(fit)
    else:
        client.tally.fault(f"{operation}: ended as {fit['status']}: {fit['error']}")


def queue_fit(client: Client) -> None:
    """Post a fit and go."""
    client.call("fit, queued", "POST /v1/fits", spec(client), expect=(202,))


def sweep(client: Client) -> None:
    """Post a batch and see it to its end; some are cancelled, some deleted, all are read."""
    grid = {"optimizer.lr": [0.001 * (i + 1) for i in range(20)], "seed": [0, 1, 2]}
    body = {"base": spec(client), "grid": grid}
    answer = client.call("batch", "POST /v1/batches", body, expect=(202,))
    if answer is None or answer.status != 202:
        return
    batch = answer.json()
    url = batch["urls"]["self"].partition(f":{client.port}")[2]
    if client.dice.random() < 0.3:
        client.call("batch, cancelled", f"POST {url}/cancel", expect=(202, 409))
    client.call("batch, looked at", f"GET {url}", headers=WAIT)
    form = client.dice.choice(["ndjson", "csv", "parquet"])
    client.call("batch, results", f"GET {url}/results.{form}")
    client.call("batch, fits", f"GET {url}/fits?limit=20")
    if client.dice.random() < 0.3:
        gone = client.call("batch, deleted", f"DELETE {url}", expect=(204, 409))
        if gone is not None and gone.status == 204:
            client.ledger.delete(batch["id"], batch["n_fits"])


def post_lines(client: Client) -> None:
    """Post a few fits as lines."""
    lines = b"\n".join(orjson.dumps(spec(client)) for _ in range(3))
    client.call("batch, lines", "POST /v1/batches", lines, {"Content-Type": NDJSON}, expect=(202,))


def look_again(client: Client) -> None:
    """Look at an ended fit twice: the second time nothing has changed."""
    fit = _ended(client)
    if fit is None:
        return
    answer = client.call("fit, looked at", f"GET {_path(fit)}")
    if answer is not None and "ETag" in answer.headers:
        known = {"If-None-Match": answer.headers["ETag"]}
        client.call("fit, not modified", f"GET {_path(fit)}", headers=known, expect=(304,))


def list_things(client: Client) -> None:
    """Read two pages of a list."""
    resource = client.dice.choice(["fits", "datasets", "batches", "lr-range-tests"])
    status = "&status=succeeded" if resource == "fits" else ""
    page = f"GET /v1/{resource}?limit={client.dice.randint(1, 20)}{status}"
    answer = client.call(f"list of {resource}", page)
    if answer is not None and answer.status == 200 and answer.json()["has_more"]:
        after = f"{page}&after={answer.json()['next_cursor']}"
        client.call(f"list of {resource}", after)


def upload(client: Client) -> None:
    """Upload a table in one of the formats, read it back, delete it."""
    content, media_type = FORMS[client.dice.choice(_FORMS)](columns(client))
    headers = {"Content-Type": media_type}
    if client.dice.random() < 0.5:
        content, headers["Content-Encoding"] = gzip.compress(content, 1), "gzip"
    answer = client.call("upload", "POST /v1/datasets", content, headers, expect=(201,))
    if answer is None or answer.status != 201:
        return
    path = f"/v1/datasets/{answer.json()['id']}"
    accept = client.dice.choice([CSV, JSON, "application/vnd.apache.parquet"])
    client.call("dataset, content", f"GET {path}/content", headers={"Accept": accept})
    client.call("dataset, deleted", f"DELETE {path}", expect=(204,))
    client.call("dataset, gone", f"GET {path}", expect=(410,))


def predict(client: Client) -> None:
    """Ask a fit for predictions, or for its loss on another table."""
    fit = _ended(client)
    if fit is None:
        return
    features = {"features": {"x": columns(client)["x"]}}
    client.call("predictions", f"POST {_path(fit)}/predictions", features)
    table = {"dataset": {"columns": columns(client)}}
    client.call("evaluation", f"POST {_path(fit)}/evaluations", table)


def check(client: Client) -> None:
    """Have a fit checked."""
    fit = _ended(client)
    if fit is not None:
        checks = {"checks": [{"target": "final_loss", "expected": fit["final_loss"]}]}
        client.call("checks", f"POST {_path(fit)}/checks", checks)


def follow(client: Client) -> None:
    """Follow a fit's events to the end."""
    answer = client.call("fit, queued", "POST /v1/fits", spec(client), expect=(202,))
    if answer is None or answer.status != 202:
        return
    path = f"{_path(answer.json())}/events"
    told = client.call("events, to the end", f"GET {path}", headers=_STREAM)
    if told is not None and told.status == 200 and told.body.count(b"event: end") != 1:
        client.tally.fault(f"events: not one end in {told.body!r}")


def leave_stream(client: Client) -> None:
    """Follow a long fit, hang up half-way, and cancel it."""
    answer = client.call("fit, long", "POST /v1/fits", spec(client, **_LONG), expect=(202,))
    if answer is None or answer.status != 202:
        return
    path = _path(answer.json())
    lines = (f"GET {path}/events HTTP/1.1", f"Host: {client.host}", "Accept: text/event-stream")
    with closing(client.connect()) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        connection.recv(client.dice.randint(1, 1000))
    cancel_fit(client, path)


def cancel_fit(client: Client, path: str) -> None:
    """Cancel a fit that would take long, and see that it ends so."""
    client.call("cancel", f"POST {path}/cancel", expect=(202, 409))
    answer = client.call("cancel, waited for", f"GET {path}", headers=WAIT)
    if answer is not None and answer.json()["status"] not in _ENDED:
        client.tally.fault(f"cancel: {path} is {answer.json()['status']} half a minute later")


def leave_wait(client: Client) -> None:
    """Post a fit, and hang up while its answer is waited for."""
    content = orjson.dumps(spec(client, steps=1000, strategy="reference"))
    lines = (
        "POST /v1/fits HTTP/1.1", f"Host: {client.host}", f"Content-Type: {JSON}",
        "Prefer: wait=30", f"Content-Length: {len(content)}",
    )  # fmt: skip
    with closing(client.connect()) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode() + content)


def delete(client: Client) -> None:
    """Delete an ended fit; it is gone then."""
    if client.ended:
        fit = client.ended.pop()
        path = _path(fit)
        gone = client.call("fit, deleted", f"DELETE {path}", expect=(204,))
        if gone is not None and gone.status == 204:
            client.ledger.delete(fit["id"])
        client.call("fit, gone", f"GET {path}", expect=(410,))


def download(client: Client) -> None:
    """Get what a fit has left, whole or a part."""
    fit = _ended(client)
    if fit is None:
        return
    name = client.dice.choice(
        ["weights.json", "weights.npz", "weights.safetensors", "history.csv", "reproduce.py"]
    )
    client.call("artifact", f"GET {_path(fit)}/{name}")
    part = {"Range": "bytes=0-9"}
    client.call("artifact, part", f"GET {_path(fit)}/history.json", headers=part, expect=(206,))


def draw(client: Client) -> None:
    """Have a picture drawn."""
    fit = _ended(client)
    if fit is not None:
        kind = client.dice.choice(["loss.png", "fit.svg", "residuals.png"])
        client.call("plot", f"GET {_path(fit)}/plots/{kind}")


def test_rates(client: Client) -> None:
    """Try many learning rates."""
    body = spec(client, num_iter=20, start_lr=1e-4, end_lr=1.0)
    client.call("range test", "POST /v1/lr-range-tests", body, WAIT, expect=(200, 202))


def rehearse(client: Client) -> None:
    """Have a spec looked at, and a gradient computed."""
    client.call("validate", "POST /v1/fits:validate", spec(client))
    body = {
        "dataset": {"columns": columns(client)},
        "target": "y",
        "weights": {"weight": [[-3.0]], "bias": [-2.0]},
    }
    client.call("gradients", "POST /v1/gradients", body)


def operate(client: Client) -> None:
    """Ask how the service is."""
    path = client.dice.choice(["/livez", "/readyz", "/metrics", "/openapi.json", "/", "/docs"])
    client.call(f"GET {path}", f"GET {path}", expect=(200, 302, 308))


def post_twice(client: Client) -> None:
    """Post under a key and do so again: the second answer is the first."""
    key = {"Idempotency-Key": f"load-{client.dice.getrandbits(64):x}"}
    body = spec(client)
    first = client.call("fit, under a key", "POST /v1/fits", body, key, expect=(202,))
    if first is None or first.status != 202:
        return
    again = client.call("fit, replayed", "POST /v1/fits", body, key, expect=(202,))
    if again is not None and again.json().get("id") != first.json()["id"]:
        client.tally.fault(f"replay: {again.body!r} after {first.body!r}")


def _ended(client: Client) -> dict[str, Any] | None:
    return client.dice.choice(client.ended) if client.ended else None


def _path(fit: Mapping[str, Any]) -> str:
    return f"/v1/fits/{fit['id']}"


# How often each comes among a hundred or so.
GOOD: Mixture = {
    wait_for_fit: 12,
    wait_for_inline_fit: 3,
    wait_for_network: 3,
    queue_fit: 6,
    sweep: 2,
    post_lines: 1,
    look_again: 10,
    list_things: 6,
    upload: 6,
    predict: 4,
    check: 4,
    follow: 3,
    leave_stream: 2,
    leave_wait: 1,
    delete: 3,
    download: 5,
    draw: 1,
    test_rates: 1,
    rehearse: 2,
    operate: 4,
    post_twice: 2,
}

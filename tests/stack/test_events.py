"""Events of fits on the real service: live, late, resumed, by the hundred."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.stack.given import LONG, WAIT

COLUMNS = {"x": [1.0, 2.0, 3.0, 4.0], "y": [2.0, 3.0, 5.0, 4.0]}
# One to three seconds of the plain loop.
SLOW: dict[str, Any] = {"steps": 8_000, "strategy": "reference"}


def post(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "dtype": "float64"} | changes
    answer = client.post("/v1/fits", json=body)
    assert answer.status_code == 202, answer.text
    fit: dict[str, Any] = answer.json()
    return fit


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The events of a stream as they come."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
        elif "id" in fields:
            data = json.loads(fields["data"])
            yield {"id": int(fields["id"]), "type": fields["event"], "data": data}
            fields = {}
        else:
            fields = {}


def stream(client: httpx.Client, url: str, after: int = 0) -> Iterator[dict[str, Any]]:
    headers = {"Last-Event-ID": str(after)} if after else {}
    with client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200
        yield from events(answer.iter_lines())


def listed(client: httpx.Client, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(url, headers={"Accept": "application/json"}).json()[
        "data"
    ]
    return found


def test_a_fit_is_followed_from_its_start_to_its_end(client: httpx.Client) -> None:
    # given a fit with an epoch for every two steps, and rows held out
    fit = post(client, **SLOW, batch_size=2, validation={"fraction": 0.25})
    url = fit["urls"]["events"]

    live = list(stream(client, url))

    # then it told what happened in order, with the numbers that the fit ended with
    ended = client.get(fit["urls"]["self"]).json()
    history = client.get(ended["artifacts"]["history"]["json"]).json()
    kinds = [one["type"] for one in live]
    assert kinds[:2] == ["status", "status"]
    assert [one["data"]["status"] for one in live[:2]] == ["queued", "running"]
    assert kinds[-1] == "end"
    assert live[-1]["data"] == {"status": "succeeded", "stop_reason": "completed"}
    ids = [one["id"] for one in live]
    assert ids == sorted(set(ids))
    progress = [one["data"] for one in live if one["type"] == "progress"]
    epochs = [one["data"] for one in live if one["type"] == "epoch"]
    assert progress
    assert all(one.keys() == ended["progress"].keys() for one in progress)
    assert [history["loss"][one["step"] - 1] for one in progress] == [p["loss"] for p in progress]
    assert epochs
    for one in epochs:
        assert one["train_loss"] == history["epochs"]["train_loss"][one["epoch"]]
        assert one["validation_loss"] == history["epochs"]["validation_loss"][one["epoch"]]
    # And tells whoever comes late the same, from whichever event on.
    assert list(stream(client, url)) == listed(client, url) == live
    for at, event in enumerate(live[:-1]):
        assert list(stream(client, url, event["id"])) == live[at + 1 :]
    assert client.get(url, headers={"Last-Event-ID": str(ids[-1])}).status_code == 204


def test_short_fits_tell_redis_their_end_alone(client: httpx.Client) -> None:
    answer = client.post("/v1/fits", headers=WAIT, json={
        "dataset": {"columns": COLUMNS}, "target": "y", "steps": 5,
    })  # fmt: skip

    told = listed(client, answer.json()["urls"]["events"])

    assert [(one["id"], one["type"]) for one in told[:2]] == [(1, "status"), (2, "status")]
    assert [one["type"] for one in told[2:]] == ["end"]


@pytest.mark.parametrize("spec", [{"steps": 100, "optimizer": {"kind": "sgd", "lr": 1e6}}, LONG])
def test_other_ends_are_told_too(client: httpx.Client, spec: dict[str, Any]) -> None:
    fit = post(client, **spec)
    if spec is LONG:
        following = stream(client, fit["urls"]["events"])
        while next(following)["type"] != "progress":
            pass
        client.post(fit["urls"]["cancel"])
        rest = list(following)
        assert {"status": "cancelling", "stop_reason": None} in [one["data"] for one in rest]
        end = {"status": "cancelled", "stop_reason": "cancelled"}
    else:
        rest = list(stream(client, fit["urls"]["events"]))
        end = {"status": "failed", "stop_reason": "diverged"}

    assert (rest[-1]["type"], rest[-1]["data"]) == ("end", end)


def test_a_range_test_is_followed_too(client: httpx.Client) -> None:
    body = {"dataset": {"columns": COLUMNS}, "target": "y", "num_iter": 20_000}
    test = client.post("/v1/lr-range-tests", json=body | {"end_lr": 1e-3}).json()

    told = list(stream(client, test["urls"]["events"]))

    assert "progress" in [one["type"] for one in told]
    assert told[-1]["data"]["status"] == "succeeded"


def test_a_hundred_streams_hold_no_other_request_up(client: httpx.Client, service_url: str) -> None:
    # given a hundred clients that follow a fit which does not end by itself
    fit = post(client, **LONG)
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=service_url, timeout=60, limits=limits) as many:
        followed = [
            many.send(many.build_request("GET", fit["urls"]["events"]), stream=True)
            for _ in range(100)
        ]
        assert {answer.status_code for answer in followed} == {200}

        # when others ask
        seconds = []
        for _ in range(50):
            began = time.monotonic()
            assert client.get(fit["urls"]["self"]).status_code == 200
            seconds.append(time.monotonic() - began)
        with ThreadPoolExecutor(40) as pool:
            waits = {"Prefer": "wait=1"}
            held = list(
                pool.map(lambda _: client.get(fit["urls"]["self"], headers=waits), range(40))
            )

        # then they are answered, and every stream hears of the end
        client.post(fit["urls"]["cancel"])
        for answer in followed:
            *_, last = events(answer.iter_lines())
            assert (last["type"], last["data"]["status"]) == ("end", "cancelled")
            answer.close()
    assert {answer.status_code for answer in held} == {200}
    assert sorted(seconds)[25] < 1

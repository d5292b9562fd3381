"""Many fits at once on the real service."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.stack.notebook import WAIT, fit, spec


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

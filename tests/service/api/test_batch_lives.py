"""Batches over HTTP, without a worker: how they are counted, listed, told of and ended."""

import csv
import io
import itertools
import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from service import lifecycle
from service.batch_results import read_results
from service.context import Context
from service.database import life
from service.database.batches import end_batches
from service.database.schema import batches as batch_rows
from service.database.schema import fits as fit_rows
from service.queue import FITS_SMALL
from service.schemas.answers.batches import BatchList, BatchResult
from service.schemas.answers.jobs import EventList
from tests.service.api.batch_requests import (
    BASE,
    OWNER,
    counts,
    create,
    end,
    listed,
    look,
    members,
)
from tests.service.claiming import claim_one, finish_one


def test_counts_the_best_and_the_end_follow_the_fits(http: FlaskClient, context: Context) -> None:
    # given a batch of six
    batch = create(http)
    ids = [fit["id"] for fit in members(http, batch)]

    # when one runs, two have succeeded, and one has failed
    claims = {claim.fit_id: claim for claim in lifecycle.claim_waiting(context, FITS_SMALL, "w")}
    assert look(http, batch)["counts"] == counts(running=6)
    for fit_id in ids[4:]:
        lifecycle.requeue(context, claims[fit_id])
    for i, loss in ((0, 3.0), (1, 2.0)):
        finish_one(context, claims[ids[i]], status="succeeded", stop_reason="completed",
                   result={"final_loss": loss})  # fmt: skip
    finish_one(
        context, claims[ids[2]], status="failed", stop_reason="diverged", result={"final_loss": 0.0}
    )

    # then the counts say so, and the best is a success
    shown = look(http, batch)
    assert shown["counts"] == counts(queued=2, running=1, succeeded=2, failed=1)
    assert (shown["status"], shown["best"]) == ("running", {"id": ids[1], "value": 2.0})
    assert shown["finished_at"] is None

    # and when the others end, one cancelled alone, the batch has ended
    finish_one(
        context,
        claims[ids[3]],
        status="succeeded",
        stop_reason="completed",
        result={"final_loss": 2.0},
    )
    end(context, ids[4], final_loss=None)
    assert http.post(f"/v1/fits/{ids[5]}/cancel").status_code == 202
    shown = look(http, batch)
    assert shown["counts"] == counts(succeeded=4, failed=1, cancelled=1)
    assert (shown["status"], shown["best"]) == ("succeeded", {"id": ids[1], "value": 2.0})
    assert shown["finished_at"] is not None
    assert context.events.first(batch["id"], seconds=1) == ("end", {})


def test_a_batch_of_failures_has_failed(http: FlaskClient, context: Context) -> None:
    batch = listed(http, BASE)
    end(context, members(http, batch)[0]["id"], status="failed")

    assert (look(http, batch)["status"], look(http, batch)["best"]) == ("failed", None)


def test_the_largest_may_be_the_best(http: FlaskClient, context: Context) -> None:
    batch = create(http, select={"metric": "train.r2"}, grid={"seed": [0, 1, 2]})
    ids = [fit["id"] for fit in members(http, batch)]

    for fit_id, r2 in zip(ids, (0.1, 0.9, 0.9), strict=True):
        end(context, fit_id, metrics={"train": {"r2": r2}, "validation": None})

    assert look(http, batch)["best"] == {"id": ids[1], "value": 0.9}


def test_an_end_that_went_unnoticed_is_noticed_by_the_sweep(
    http: FlaskClient, context: Context
) -> None:
    batch = listed(http, BASE)
    fit_id = members(http, batch)[0]["id"]
    with context.database.write() as connection:
        life.cancel(connection, fit_id, now=1.0, expires_at=None)

    lifecycle.sweep(context, 2.0)

    assert look(http, batch)["finished_at"] is not None


def test_a_batch_is_cancelled_and_then_deleted_with_its_fits(
    http: FlaskClient, context: Context
) -> None:
    # given a batch with one fit at work
    batch = create(http)
    ids = [fit["id"] for fit in members(http, batch)]
    claim = claim_one(context, ids[0], "worker")
    assert claim is not None
    url = f"/v1/batches/{batch['id']}"

    # when it is cancelled, what waits ends, and the worker is asked to end the other
    answer = http.post(f"{url}/cancel")
    assert (answer.status_code, answer.get_json()["status"]) == (202, "cancelling")
    assert answer.get_json()["counts"] == counts(running=1, cancelled=5)
    assert http.delete(url).status_code == 409
    assert finish_one(context, claim, status="succeeded", stop_reason="completed",
                      result={"final_loss": 1.0})  # fmt: skip
    assert look(http, batch)["status"] == "cancelled"
    assert http.post(f"{url}/cancel").status_code == 409

    # then it can be forgotten
    assert http.delete(url).status_code == 204
    gone = [url, f"{url}/fits", f"{url}/results.csv", f"/v1/fits/{ids[0]}"]
    assert [http.get(each).status_code for each in gone] == [410] * 4
    assert http.get("/v1/batches").get_json()["data"] == []
    assert http.get("/v1/batches/bat_none").status_code == 404


def test_lists_of_a_batch_s_fits_are_lists_of_fits(http: FlaskClient, context: Context) -> None:
    listed(http, BASE)
    batch = create(http)
    ids = [fit["id"] for fit in members(http, batch)]
    end(context, ids[2])

    page = http.get(f"/v1/batches/{batch['id']}/fits?limit=4")
    rest = http.get(page.headers["Link"].split(">")[0].removeprefix("<http://localhost"))
    ended = http.get(f"/v1/batches/{batch['id']}/fits?status=succeeded").get_json()

    found = [fit["id"] for part in (page, rest) for fit in part.get_json()["data"]]
    assert found == sorted(ids, reverse=True)
    assert [fit["id"] for fit in ended["data"]] == [ids[2]]
    assert len(http.get("/v1/fits?limit=1000").get_json()["data"]) == 7


def test_batches_are_listed_and_known_by_their_state(http: FlaskClient, context: Context) -> None:
    first, second = listed(http, BASE, tags=["a"]), create(http)
    end(context, members(http, first)[0]["id"])

    page = http.get("/v1/batches?limit=1").get_json()
    tagged = http.get("/v1/batches?tag=a").get_json()
    BatchList.model_validate(page)
    assert (page["data"][0], page["has_more"]) == (look(http, second), True)
    assert tagged["data"] == [look(http, first)]
    assert tagged["data"][0]["status"] == "succeeded"

    answer = http.get(f"/v1/batches/{second['id']}")
    same = {"If-None-Match": answer.headers["ETag"]}
    assert http.get(f"/v1/batches/{second['id']}", headers=same).status_code == 304
    end(context, members(http, second)[0]["id"])
    assert http.get(f"/v1/batches/{second['id']}", headers=same).status_code == 200


STATES = ("queued", "running", "cancelling", "succeeded", "failed", "cancelled")


def test_batches_are_listed_by_their_state(http: FlaskClient, context: Context) -> None:
    # given batches of two fits in every two states, asked to end or not, their end noted or not
    found: dict[str, list[str]] = {state: [] for state in STATES}
    for first, second in itertools.combinations_with_replacement(STATES, 2):
        for cancelled_at, is_noted in itertools.product((None, 1.0), (False, True)):
            batch = listed(http, BASE, BASE)
            ids = [fit["id"] for fit in members(http, batch)]
            with context.database.write() as connection:
                for fit_id, state in zip(ids, (first, second), strict=True):
                    row = update(fit_rows).where(fit_rows.c.id == fit_id)
                    connection.execute(row.values(status=state))
                row = update(batch_rows).where(batch_rows.c.id == batch["id"])
                connection.execute(row.values(cancelled_at=cancelled_at))
                if is_noted:
                    end_batches(connection, [batch["id"]], now=1.0, expires_at=None)
            found[look(http, batch)["status"]].append(batch["id"])

    # then each is listed in the state that it shows, and in no other
    assert all(found.values())
    for state, ids in found.items():
        assert ids_of(http, f"/v1/batches?status={state}&limit=1000") == sorted(ids, reverse=True)
        # page by page too, and below other filters
        assert ids_of(http, f"/v1/batches?status={state}&limit=3") == sorted(ids, reverse=True)
        assert ids_of(http, f"/v1/batches?status={state}&tag=none") == []


def ids_of(http: FlaskClient, path: str) -> list[str]:
    """The ids on a list's pages, by the links from each to the next."""
    ids = []
    next_path: str | None = path
    while next_path:
        answer = http.get(next_path)
        assert answer.status_code == 200, answer.text
        ids += [one["id"] for one in answer.get_json()["data"]]
        assert answer.get_json()["has_more"] == ("Link" in answer.headers)
        link = answer.headers.get("Link", "")
        next_path = link.split(">")[0].removeprefix("<http://localhost") or None
    return ids


def test_a_state_that_is_none_is_refused(http: FlaskClient) -> None:
    assert http.get("/v1/batches?status=ended").status_code == 422


def test_results_come_in_three_formats(http: FlaskClient, context: Context) -> None:
    # given a batch in which one fit has succeeded, one has failed, and one waits
    grid = {"optimizer.lr": [0.5, 1], "init": [{"kind": "zeros"}]}
    batch = create(http, grid=grid | {"shuffle": [True]})
    ids = [fit["id"] for fit in members(http, batch)]
    end(context, ids[0], final_loss=0.1 + 0.2)
    url = f"/v1/batches/{batch['id']}/results"

    # when its results are asked for
    lines = [json.loads(line) for line in http.get(f"{url}.ndjson").text.splitlines()]
    rows = [*csv.DictReader(io.StringIO(http.get(f"{url}.csv").text))]
    table = pq.read_table(io.BytesIO(http.get(f"{url}.parquet").data)).to_pylist()

    # then each has a line a fit, with what varied and what came out
    for line in lines:
        BatchResult.model_validate(line)
    assert [line["id"] for line in lines] == [row["id"] for row in rows] == ids
    assert lines[0]["varied"] == {"optimizer.lr": 0.5, "init": {"kind": "zeros"}, "shuffle": True}
    assert (lines[0]["final_loss"], lines[1]["final_loss"]) == (0.1 + 0.2, None)
    assert lines[0]["coefficients"] == {"intercept": 0.5, "x": 2.0}
    assert rows[0] == {
        "id": ids[0], "status": "succeeded", "stop_reason": "completed", "error": "",
        "optimizer.lr": "0.5", "init": '{"kind":"zeros"}', "shuffle": "true",
        "final_loss": "0.30000000000000004", "score": "0.30000000000000004", "train.mse": "1.0",
        "coefficients.intercept": "0.5", "coefficients.x": "2.0",
    }  # fmt: skip
    assert table[0] == rows[0] | {
        "error": None, "optimizer.lr": 0.5, "shuffle": True, "final_loss": 0.1 + 0.2,
        "score": 0.1 + 0.2, "train.mse": 1.0, "coefficients.intercept": 0.5, "coefficients.x": 2.0,
    }  # fmt: skip
    assert (table[1]["status"], table[1]["final_loss"]) == ("queued", None)


@pytest.mark.parametrize(
    ("metric", "score"),
    [("final_loss", 0.25), ("train.loss", 0.25), ("validation.loss", 0.5), ("train.mse", 1.0)],
)
def test_results_have_the_number_that_best_goes_by(
    http: FlaskClient, context: Context, metric: str, score: float
) -> None:
    # given a success, and a fit that failed with a lesser loss
    base = BASE | {"validation": {"fraction": 0.3}}
    batch = create(http, base=base, grid={"seed": [0, 1]}, select={"metric": metric})
    good, bad = (fit["id"] for fit in members(http, batch))
    end(context, good, final_loss=0.25, validation_loss=0.5)
    end(context, bad, status="failed", final_loss=0.1, validation_loss=0.1)

    text = http.get(f"/v1/batches/{batch['id']}/results.ndjson").text

    scores = {row["id"]: row["score"] for row in map(json.loads, text.splitlines())}
    assert scores == {good: score, bad: None}
    assert look(http, batch)["best"] == {"id": good, "value": score}


def test_who_reads_results_slowly_holds_no_connection(http: FlaskClient, context: Context) -> None:
    batch = create(http, grid={"seed": list(range(250))})

    lines = read_results(context, batch["id"], "ndjson", OWNER)
    first = json.loads(next(lines))

    assert context.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    rest = [json.loads(line)["id"] for line in lines]
    assert [first["id"], *rest] == [fit["id"] for fit in members(http, batch)]


def told(http: FlaskClient, batch: Any, **headers: str) -> list[Any]:
    answer = http.get(
        f"/v1/batches/{batch['id']}/events", headers={"Accept": "application/json"} | headers
    )
    EventList.model_validate(answer.get_json())
    found: list[Any] = answer.get_json()["data"]
    return found


def test_a_batch_tells_of_its_counts(http: FlaskClient, context: Context) -> None:
    # given a batch at work
    batch = create(http)
    assert [one["data"] for one in told(http, batch)] == [{"status": "queued"}]
    fit_ids = [fit["id"] for fit in members(http, batch)]
    for fit_id in fit_ids[:2]:
        end(context, fit_id)
    so_far = told(http, batch)
    assert [one["type"] for one in so_far] == ["status", "status", "progress"]
    assert so_far[-1]["data"]["counts"]["succeeded"] == 2
    assert told(http, batch, **{"Last-Event-ID": str(so_far[-1]["id"])}) == []

    # when it is over, its stream tells all of it, in order, and closes
    for fit_id in fit_ids[2:]:
        end(context, fit_id, status="failed")
    answer = http.get(f"/v1/batches/{batch['id']}/events")
    assert answer.content_type.startswith("text/event-stream")
    blocks = [block for block in answer.text.split("\n\n") if block.startswith("id:")]
    ids = [int(block.splitlines()[0].removeprefix("id: ")) for block in blocks]
    assert ids == sorted(set(ids))
    assert 'event: end\ndata: {"status":"succeeded","counts":{' in blocks[-1]
    assert ids == [one["id"] for one in told(http, batch)]

    # and whoever has seen the end need not come again
    again = http.get(f"/v1/batches/{batch['id']}/events", headers={"Last-Event-ID": str(ids[-1])})
    assert again.status_code == 204


def test_a_batch_that_is_cancelled_tells_so_and_so_do_its_running_fits(
    http: FlaskClient, context: Context
) -> None:
    # given a client that has seen one of six fits end, while another is at work
    batch = create(http)
    ids = [fit["id"] for fit in members(http, batch)]
    end(context, ids[0])
    claim = claim_one(context, ids[1], "worker")
    assert claim is not None
    last = {"Last-Event-ID": str(told(http, batch)[-1]["id"])}

    # when the batch is cancelled, twice
    for _ in range(2):
        assert http.post(f"/v1/batches/{batch['id']}/cancel").status_code == 202

    # then the batch and the fit at work say so, once
    since = told(http, batch, **last)
    assert [one["data"] for one in since] == [
        {"status": "cancelling"},
        {"counts": counts(running=1, succeeded=1, cancelled=4)},
    ]
    events = http.get(f"/v1/fits/{ids[1]}/events", headers={"Accept": "application/json"})
    statuses = [one["data"]["status"] for one in events.get_json()["data"]]
    assert (statuses[-1], statuses.count("cancelling")) == ("cancelling", 1)

    # and its end comes after that
    assert finish_one(context, claim, status="succeeded", stop_reason="completed", result=None)
    rest = told(http, batch, **{"Last-Event-ID": str(since[-1]["id"])})
    assert [one["type"] for one in rest] == ["progress", "end"]
    assert rest[-1]["data"]["status"] == "cancelled"
    found = [one["id"] for one in told(http, batch)]
    assert found == sorted(set(found))

"""Batches over HTTP, without a worker: what is taken, refused, counted, listed, ended."""

import csv
import gzip
import io
import itertools
import json
import time
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from service import fits, lifecycle, submission
from service.batch_results import read_results
from service.context import Context
from service.database import life
from service.database.batches import end_batches
from service.database.schema import batches as batch_rows
from service.database.schema import fits as fit_rows
from service.queue import FITS_SMALL
from service.retention import forget_expired
from service.schemas.answers import Batch, BatchList, BatchResult, EventList, FitList
from service.schemas.fits import FitRequest
from service.settings import Settings
from tests.service.claiming import claim_one, finish_one, undelivered_fits
from tests.service.stored import stored
from tests.service.test_lifecycle import expire

COLUMNS = {"x": [1.0, 2.0, 3.0], "y": [2.0, 3.0, 4.5]}
BASE: dict[str, Any] = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
GRID = {"optimizer.lr": [0.1, 0.2, 0.3], "seed": [0, 1]}
NDJSON = {"Content-Type": "application/x-ndjson"}
OWNER = "open"


def create(http: FlaskClient, status: int = 202, **request: Any) -> Any:
    answer = http.post("/v1/batches", json={"base": BASE, "grid": GRID} | request)
    assert answer.status_code == status, answer.text
    return answer.get_json(force=True)


def listed(http: FlaskClient, *bodies: Any, status: int = 202, **more: Any) -> Any:
    answer = http.post("/v1/batches", json={"fits": bodies} | more)
    assert answer.status_code == status, answer.text
    return answer.get_json(force=True)


def members(http: FlaskClient, batch: Any) -> list[Any]:
    """The batch's fits in their order."""
    answer = http.get(f"/v1/batches/{batch['id']}/fits?limit=1000")
    FitList.model_validate(answer.get_json())
    return [*reversed(answer.get_json()["data"])]


def look(http: FlaskClient, batch: Any) -> Any:
    shown = http.get(f"/v1/batches/{batch['id']}").get_json()
    Batch.model_validate(shown)
    assert sum(shown["counts"].values()) == shown["n_fits"]
    return shown


def end(context: Context, fit_id: str, *, status: str = "succeeded", **result: Any) -> None:
    """What a worker does at the end of a fit."""
    claim = claim_one(context, fit_id, "worker")
    assert claim is not None
    whole = {
        "final_loss": 1.0, "metrics": {"train": {"mse": 1.0}, "validation": None},
        "coefficients": {"intercept": 0.5, "x": 2.0}, "loss_history": None,
    } | result  # fmt: skip
    stop_reason = "completed" if status == "succeeded" else "error"
    assert finish_one(context, claim, status=status, stop_reason=stop_reason, result=whole)


def test_a_batch_is_accepted_with_all_its_fits(http: FlaskClient, context: Context) -> None:
    answer = http.post("/v1/batches", json={
        "base": BASE, "grid": GRID, "name": "rates", "tags": ["a"], "metadata": {"course": "ml"},
        "select": {"metric": "metrics.train.r2"},
    })  # fmt: skip

    batch = answer.get_json()
    Batch.model_validate(batch)
    assert (answer.status_code, answer.headers["Retry-After"]) == (202, "1")
    assert answer.headers["Location"] == batch["urls"]["self"]
    assert (batch["status"], batch["n_fits"], batch["counts"]["queued"]) == ("queued", 6, 6)
    assert (batch["name"], batch["tags"], batch["metadata"]) == ("rates", ["a"], {"course": "ml"})
    assert (batch["varied"], batch["best"]) == (["optimizer.lr", "seed"], None)
    assert batch["select"] == {"metric": "train.r2", "mode": "max"}
    assert look(http, batch) == batch
    assert undelivered_fits(context) == 1


def test_each_fit_is_what_it_would_be_alone(http: FlaskClient, context: Context) -> None:
    # given fits that differ in all that a batch looks at once, and in what it does not
    dataset = http.post("/v1/datasets", json={"columns": COLUMNS}).get_json()["id"]
    plain = BASE | {"dataset": dataset}
    bodies = [
        plain,
        plain | {"optimizer": {"kind": "sgd", "lr": 1}, "seed": {"init": 3}},
        plain | {"optimizer": {"kind": "adam", "lr": 0.5}, "tags": ["mine"]},
        plain | {"init": {"weights": {"weight": [[1]], "bias": [0]}}, "priority": "high"},
        plain | {"init": {"weights": {"weight": [[2]], "bias": [1]}}, "priority": "low"},
        plain | {"features": ["x"], "metadata": {"who": "ada"}, "epochs": 4, "steps": None},
        plain | {"model": {"kind": "polynomial"}, "penalty": {"l2": 1}, "steps": 9_000_000},
        plain | {"validation": {"dataset": dataset}},
    ]

    found = members(http, listed(http, *bodies))

    # then each row is the one that it would have alone, but for the time, the batch and the request
    for body, fit in zip(bodies, found, strict=True):
        alone = submission.submit(context, FitRequest.model_validate(body), owner=OWNER)
        one, other = (fits.fit_row(context, each["id"]) for each in (fit, alone))
        own = {"id", "created_at", "woken_at", "batch_id", "position", "request_id"}
        assert {k: v for k, v in one.items() if k not in own} == {
            k: v for k, v in other.items() if k not in own
        }
    assert [fits.fit_row(context, fit["id"])["position"] for fit in found] == [*range(8)]
    assert [fit["id"] for fit in found] == sorted(fit["id"] for fit in found)


def test_equal_datasets_in_bodies_are_kept_once(http: FlaskClient) -> None:
    again = {"columns": {name: [*cells] for name, cells in COLUMNS.items()}}
    other = {"columns": COLUMNS | {"y": [0.0, 0.0, 1.0]}}

    found = members(http, listed(http, BASE, BASE | {"dataset": again}, BASE | {"dataset": other}))

    first, second, third = (fit["dataset"]["id"] for fit in found)
    assert first == second != third
    assert len(http.get("/v1/datasets").get_json()["data"]) == 2
    create(http)
    assert len(http.get("/v1/datasets").get_json()["data"]) == 3


def test_a_sweep_within_the_dataset_has_a_table_a_value(http: FlaskClient) -> None:
    generator = {"kind": "linear", "n": 3, "seed": 0, "coef": [2]}
    base = BASE | {"dataset": {"generator": generator}}

    batch = create(http, base=base, grid={"dataset.generator.seed": [*range(100)]})

    digests = [fit["dataset"]["digest"] for fit in members(http, batch)]
    assert len({*digests}) == 100
    alone = http.post("/v1/datasets", json={"generator": generator | {"seed": 99}}).get_json()
    assert digests[99] == alone["digest"]


def test_lines_are_a_batch_too_and_bodies_may_be_compressed(http: FlaskClient) -> None:
    lines = b"\n".join(orjson.dumps(BASE | {"seed": seed}) for seed in range(3))

    answer = http.post(
        "/v1/batches?name=lines&metric=train.mae",
        data=gzip.compress(lines),
        headers=NDJSON | {"Content-Encoding": "gzip"},
    )

    batch = answer.get_json()
    assert (answer.status_code, batch["n_fits"], batch["varied"]) == (202, 3, ["seed"])
    assert (batch["name"], batch["select"]) == ("lines", {"metric": "train.mae", "mode": "min"})


def test_random_draws_are_a_function_of_the_seed(http: FlaskClient) -> None:
    space = {"optimizer.lr": {"log_uniform": [1e-3, 1]}, "seed": {"integers": [0, 9]}}

    def rates(seed: int) -> list[float]:
        sweep = {"n": 4, "seed": seed, "space": space}
        batch = create(http, grid=None, random=sweep)
        return [fit["spec"]["optimizer"]["lr"] for fit in members(http, batch)]

    assert rates(1) == rates(1) != rates(2)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            {"grid": {"optimizer.lr": [0.1, 0.2, -1]}},
            [("/grid/optimizer.lr/2", "greater_than_equal")],
        ),
        (
            {"grid": {"optimizer.rate": [1]}},
            [("/grid/optimizer.rate", "unknown_field")],
        ),
        ({"grid": {"optimiser.lr": [1]}}, [("/grid/optimiser.lr", "unknown_field")]),
        ({"grid": {"target": ["y", "z"]}}, [("/grid/target/1", "unknown_column")]),
        ({"base": BASE | {"target": "z"}}, [("/base/target", "unknown_column")]),
        ({"base": BASE | {"steps": None}}, [("/base", "epochs_or_steps")]),
        ({"base": BASE | {"reuse": True}}, [("/base/reuse", "no_reuse")]),
        ({"base": {"target": "y", "steps": 1}}, [("/base/dataset", "required")]),
        (
            {"base": BASE | {"dataset": {"columns": COLUMNS | {"x": [1, 2, None]}}}},
            [("/base/dataset/columns/x/2", "missing_value")],
        ),
        (
            {"grid": None, "random": {"n": 2, "space": {"steps": {"integers": [-2, 0]}}}},
            [("/random/space/steps", "greater_than_equal")],
        ),
        (
            {"grid": None, "random": {"n": 2, "space": {"steps": {"integer": [1, 2]}}}},
            [
                ("/random/space/steps/choice", "required"),
                ("/random/space/steps/integer", "unknown_field"),
            ],
        ),
        (
            {"grid": None, "random": {"n": 10_001, "space": {"seed": [1]}}},
            [("/random/n", "less_than_equal")],
        ),
        ({"grid": {"seed": [*range(10_001)]}}, [("/grid", "too_many_fits")]),
        (
            {"grid": {"optimizer.": [{"kind": "sgd"}]}},
            [("/grid/optimizer.", "string_pattern_mismatch")],
        ),
        ({"grid": {"seed": []}}, [("/grid/seed", "too_short")]),
        ({"grid": {}}, [("/grid", "too_short")]),
        ({"grid": None}, [("", "one_form")]),
        ({"random": {"n": 1, "space": {"seed": [1]}}}, [("", "one_form")]),
        ({"fits": [BASE]}, [("", "one_form")]),
        ({"select": {"metric": "validation.loss"}}, [("/select/metric", "no_such_metric")]),
        ({"select": {"metric": "train.f1"}}, [("/select/metric", "no_such_metric")]),
        ({"select": {"metric": "loss"}}, [("/select/metric", "unknown_metric")]),
        ({"sort": "lr"}, [("/sort", "unknown_field")]),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_nothing_is_queued(
    http: FlaskClient, request_: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    problem = create(http, 422, **request_)

    assert [(place["pointer"], place["code"]) for place in problem["errors"]] == expected
    assert http.get("/v1/fits").get_json()["data"] == []
    assert http.get("/v1/datasets").get_json()["data"] == []
    assert http.get("/v1/batches").get_json()["data"] == []


def test_one_invalid_member_refuses_the_call(http: FlaskClient) -> None:
    bad = BASE | {"optimizer": {"kind": "sgd", "lr": -1}}
    worse = BASE | {"target": "z"}

    problem = listed(http, *[BASE] * 17, bad, BASE, worse, 3, status=422)

    assert [place["pointer"] for place in problem["errors"]] == [
        "/fits/17/optimizer/lr", "/fits/19/target", "/fits/20",
    ]  # fmt: skip
    assert problem["detail"].startswith("/fits/17/optimizer/lr: ")
    assert http.get("/v1/fits").get_json()["data"] == []


def test_an_invalid_line_is_told_by_its_row(http: FlaskClient) -> None:
    good, bad = json.dumps(BASE), json.dumps(BASE | {"optimizer": {"kind": "sgd", "q": 1}})

    unknown = http.post("/v1/batches", data=f"{good}\n\n{bad}\n", headers=NDJSON)
    broken = http.post("/v1/batches", data=f"{good}\n{{", headers=NDJSON)

    assert (unknown.status_code, broken.status_code) == (422, 422)
    (place,) = unknown.get_json(force=True)["errors"]
    assert (place["row"], place["pointer"]) == (1, "/optimizer/q")
    assert broken.get_json(force=True)["errors"][0]["row"] == 1


def test_a_dataset_that_is_not_there_is_told_with_its_place(http: FlaskClient) -> None:
    deleted = http.post("/v1/datasets", json={"columns": COLUMNS}).get_json()["id"]
    http.delete(f"/v1/datasets/{deleted}")

    unknown = listed(http, BASE, BASE | {"dataset": "ds_none"}, status=404)
    gone = listed(http, BASE, BASE, BASE | {"validation": {"dataset": deleted}}, status=410)

    assert unknown["errors"][0]["pointer"] == "/fits/1/dataset"
    assert gone["errors"][0]["pointer"] == "/fits/2/validation/dataset"


def test_a_queue_without_room_for_all_takes_none(http: FlaskClient, context: Context) -> None:
    full = context.settings.model_copy(update={"max_queued_fits": 6})
    object.__setattr__(http.application.extensions["thalweg"], "settings", full)
    listed(http, BASE)
    (kept,) = stored(context)

    other = BASE | {"dataset": {"columns": COLUMNS | {"x": [0, 1, 2]}}}
    one_table = http.post("/v1/batches", json={"base": BASE, "grid": GRID})
    two_tables = http.post("/v1/batches", json={"fits": [BASE, other] * 3})

    for answer in (one_table, two_tables):
        assert (answer.status_code, answer.get_json(force=True)["code"]) == (503, "queue_full")
    assert len(http.get("/v1/datasets").get_json()["data"]) == 1
    assert stored(context) == [kept]


def test_a_batch_that_no_queue_has_room_for_is_refused_for_good(
    http: FlaskClient, context: Context
) -> None:
    small = context.settings.model_copy(update={"max_queued_fits": 5})
    object.__setattr__(http.application.extensions["thalweg"], "settings", small)

    answer = http.post("/v1/batches", json={"base": BASE, "grid": GRID})

    (place,) = answer.get_json(force=True)["errors"]
    assert (answer.status_code, place["code"]) == (422, "too_many_fits")
    assert "limit of 5" in place["detail"]
    assert "max_queued_fits" in place["detail"]
    assert "Retry-After" not in answer.headers
    assert stored(context) == []


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


def counts(**given: int) -> dict[str, int]:
    return dict.fromkeys(("queued", "running", "succeeded", "failed", "cancelled"), 0) | given


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


def test_ten_thousand_fits_in_one_call(http: FlaskClient, context: Context) -> None:
    grid = {"optimizer.lr": [i / 100 for i in range(100)], "seed": [*range(100)]}

    batch = create(http, grid=grid)

    assert look(http, batch)["counts"] == counts(queued=10_000)
    results = http.get(f"/v1/batches/{batch['id']}/results.csv").text.splitlines()
    assert len(results) == 10_001
    assert results[-1].startswith("fit_")
    assert undelivered_fits(context) == 1


class TestForgetful:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """Settings that keep nothing for ever."""
        return settings.model_copy(update={"retention_seconds": 100.0})

    def test_the_fits_of_a_batch_are_kept_as_long_as_it_is(
        self, http: FlaskClient, context: Context
    ) -> None:
        # given a batch that goes on when its first fits would have expired: ended, cancelled, lost
        batch = create(http, grid={"seed": [0, 1, 2, 3]})
        ids = [fit["id"] for fit in members(http, batch)]
        end(context, ids[0])
        http.post(f"/v1/fits/{ids[1]}/cancel")
        # The first claim takes another fit too, and what is lost so is tried once more, alone.
        for _ in range(context.settings.max_attempts + 1):
            assert claim_one(context, ids[2], "worker") is not None
            expire(context)
        forget_expired(context, time.time() + 200)
        ended = members(http, batch)
        assert [fit["status"] for fit in ended] == ["succeeded", "cancelled", "failed", "queued"]
        assert {fit["expires_at"] for fit in ended} == {None}

        # when it ends
        end(context, ids[3])

        # then it and they are forgotten at one moment
        expires_at = look(http, batch)["expires_at"]
        assert expires_at is not None
        assert {fit["expires_at"] for fit in members(http, batch)} == {expires_at}
        forget_expired(context, time.time() + 200)
        paths = [f"batches/{batch['id']}", *(f"fits/{fit_id}" for fit_id in ids)]
        assert [http.get(f"/v1/{path}").status_code for path in paths] == [410] * 5

    def test_so_are_those_of_a_cancelled_one(self, http: FlaskClient) -> None:
        batch = create(http)

        http.post(f"/v1/batches/{batch['id']}/cancel")

        kept = {fit["expires_at"] for fit in members(http, batch)}
        assert kept == {look(http, batch)["expires_at"]} != {None}

"""Batches over HTTP: what is taken, and what is refused."""

import gzip
import json
import time
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

from service import fits, submission
from service.context import Context
from service.retention import forget_expired
from service.schemas.answers.batches import Batch
from service.schemas.fits import FitRequest
from service.settings import Settings
from tests.service.api.batch_requests import (
    BASE,
    COLUMNS,
    GRID,
    NDJSON,
    OWNER,
    counts,
    create,
    end,
    listed,
    look,
    members,
)
from tests.service.claiming import claim_one, undelivered_fits
from tests.service.stored import stored
from tests.service.test_lifecycle import expire


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
            [("/random/space/steps", "unknown_draw")],
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
    other = http.post("/v1/batches", data=f"{good}\n[]\n", headers=NDJSON)

    assert {answer.status_code for answer in (unknown, broken, other)} == {422}
    (place,) = unknown.get_json(force=True)["errors"]
    assert (place["row"], place["pointer"]) == (1, "/optimizer/q")
    assert unknown.get_json(force=True)["detail"].startswith("row 1: /optimizer/q: ")
    assert broken.get_json(force=True)["errors"][0]["row"] == 1
    assert other.get_json(force=True)["detail"] == "row 1: should be an object"


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

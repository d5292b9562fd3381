"""`/metrics` at the edge."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from service import lifecycle
from service.context import Context
from service.keys import create_key
from service.lifecycle import Claim
from service.limits import Limits
from tests.eventually import eventually
from tests.service.api.resources import create_fit, end
from tests.service.api.test_idempotency import FIT
from tests.service.claiming import claim_one
from workers.heartbeat import Heartbeat


def scraped(http: FlaskClient, **headers: str) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = http.get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_what_waits_and_what_runs_is_the_databases(http: FlaskClient, context: Context) -> None:
    # given two fits that wait, and one at work
    for _ in range(3):
        fit = create_fit(http)
    assert claim_one(context, fit["id"], "worker") is not None

    found = scraped(http)

    assert (
        found[("thalweg_queue_depth", ("fits.small",))] + found[("thalweg_fits_running", ("fit",))]
        == 3
    )
    assert found[("thalweg_fits_running", ("fit",))] >= 1
    assert found[("thalweg_queue_age_seconds", ("fits.small",))] >= 0


def test_requests_are_counted_by_operation_and_status(http: FlaskClient) -> None:
    before = scraped(http)
    for _ in range(2):
        http.get("/v1/fits/fit_none")
    http.get("/nowhere")
    http.open("/v1/fits", method="BREW")

    after = scraped(http)

    def more(*labels: str) -> float:
        key = ("thalweg_requests_total", labels)
        return after[key] - before.get(key, 0.0)

    assert more("GET", "getFit", "404") == 2
    assert more("GET", "other", "404") == 1
    assert more("other", "other", "405") == 1
    count = ("thalweg_request_seconds_count", ("getFit",))
    assert after[count] - before.get(count, 0.0) == 2


def test_ends_are_counted(http: FlaskClient, context: Context) -> None:
    fit = create_fit(http)
    key = ("thalweg_fits_total", ("fit", "succeeded", "completed", "none"))
    before = scraped(http).get(key, 0.0)

    end(context, fit["id"])

    assert scraped(http)[key] == before + 1


LOST = ("thalweg_leases_lost_total", ())


def claimed(context: Context, fit_id: str) -> Claim:
    claim = claim_one(context, fit_id, "worker")
    assert claim is not None
    return claim


def expire(context: Context) -> None:
    """What the sweeper does once every lease is over."""
    lifecycle.sweep(context, time.time() + context.settings.lease_seconds + 1)


@pytest.mark.parametrize("becomes", ["queued", "failed", "cancelled"])
def test_a_lost_lease_is_counted_once(http: FlaskClient, context: Context, becomes: str) -> None:
    # given a fit whose worker falls silent, on its last attempt or while it is cancelled
    fit = create_fit(http)["id"]
    n_lost = context.settings.max_attempts if becomes == "failed" else 1
    before = scraped(http)[LOST]
    for _ in range(n_lost - 1):
        claimed(context, fit)
        expire(context)
    claim = claimed(context, fit)
    if becomes == "cancelled":
        http.post(f"/v1/fits/{fit}/cancel")

    # when several sweepers look, again and again
    with ThreadPoolExecutor(4) as sweepers:
        list(sweepers.map(lambda _: expire(context), range(8)))

    # then it is counted once, and so it stays when the worker is back
    assert http.get(f"/v1/fits/{fit}").get_json()["status"] == becomes
    assert scraped(http)[LOST] == before + n_lost
    assert not lifecycle.requeue(context, claim)
    with Heartbeat(context, [claim]) as heartbeat:
        eventually(lambda: heartbeat.lost(claim), seconds=30)
    expire(context)
    assert scraped(http)[LOST] == before + n_lost


def test_a_lease_that_was_kept_or_given_back_is_not_counted(
    http: FlaskClient, context: Context
) -> None:
    before = scraped(http)[LOST]
    kept, given_back, ended = (create_fit(http)["id"] for _ in range(3))

    end(context, ended)
    assert lifecycle.requeue(context, claimed(context, given_back))
    assert lifecycle.renew(context, claimed(context, kept), None) == "running"
    lifecycle.sweep(context, time.time())

    assert scraped(http)[LOST] == before


@pytest.mark.parametrize("batch", [False, True])
def test_fits_that_never_began_are_counted_too(http: FlaskClient, batch: bool) -> None:
    # given a fit that waits, alone or in a batch
    path = "/v1/batches" if batch else "/v1/fits"
    posted = http.post(path, json={"fits": [FIT]} if batch else FIT).get_json()
    key = ("thalweg_fits_total", ("fit", "cancelled", "cancelled", "none"))
    before = scraped(http).get(key, 0.0)

    http.post(f"{path}/{posted['id']}/cancel")

    assert scraped(http)[key] == before + 1


def test_with_keys_it_is_for_operators(http: FlaskClient, context: Context) -> None:
    keys = {
        scope: create_key(context.database, "ada", [scope], Limits())["key"]
        for scope in ("read", "admin")
    }

    assert http.get("/metrics").status_code == 401
    reader = {"Authorization": f"Bearer {keys['read']}"}
    assert http.get("/metrics", headers=reader).status_code == 403
    assert scraped(http, Authorization=f"Bearer {keys['admin']}")

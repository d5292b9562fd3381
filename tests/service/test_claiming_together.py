"""Short fits are claimed together, and what one of them does to a worker befalls no other."""

import time
from typing import Any

import pytest
from sqlalchemy import update

from service import fits, lifecycle
from service.context import Context
from service.database import schema
from service.database.claiming import MOST_TOGETHER
from service.digests import spec_digest
from service.queue import FITS_CPU, FITS_SMALL
from service.schemas.datasets import DatasetRequest
from tests.service.claiming import FIT_QUEUES, undelivered_fits
from tests.service.conftest import OWNER
from tests.service.test_at_one_moment import batch_of
from tests.service.test_lifecycle import expire, finish, submit


def claimed(context: Context, queue: str = FITS_SMALL) -> list[str]:
    return [claim.fit_id for claim in lifecycle.claim_waiting(context, queue, "worker")]


def test_short_fits_are_claimed_together_in_their_order(
    context: Context, table: DatasetRequest
) -> None:
    ids = [submit(context, table)["id"] for _ in range(5)]

    assert claimed(context) == ids
    assert claimed(context) == []


def test_a_claim_has_the_digest_of_its_spec(context: Context, table: DatasetRequest) -> None:
    # given a fit, one of a batch, and one from before digests were kept
    submit(context, table, seed={"init": 3}, priority="high")
    batch_of(context, table, 1)
    old = submit(context, table, init={"weights": {"weight": [[1e-7]], "bias": [-2]}})["id"]
    with context.database.write() as connection:
        connection.execute(
            update(schema.fits).where(schema.fits.c.id == old).values(spec_digest=None)
        )

    claims = lifecycle.claim_waiting(context, FITS_SMALL, "worker")

    assert [claim.spec_digest for claim in claims] == [spec_digest(claim.spec) for claim in claims]
    assert len({claim.spec_digest for claim in claims}) == 3


def test_long_fits_are_claimed_one_by_one_and_stand_before_no_short_one(
    context: Context, table: DatasetRequest
) -> None:
    long = [submit(context, table, steps=500_000, strategy="reference")["id"] for _ in range(2)]
    short = submit(context, table)["id"]

    assert claimed(context) == [short]
    assert [claimed(context, FITS_CPU), claimed(context, FITS_CPU)] == [[long[0]], [long[1]]]


def test_more_than_one_claim_takes_are_left_to_another_worker(
    context: Context, table: DatasetRequest
) -> None:
    # given more fits than are taken at once, and their one wake-up delivered
    ids = [submit(context, table)["id"] for _ in range(MOST_TOGETHER + 2)]
    context.events.client.delete(*FIT_QUEUES)
    context.queue.heard(FITS_SMALL)

    # when a worker claims
    first = claimed(context)

    # then another one is sent for, and finds the rest
    assert 1 < len(first) <= MOST_TOGETHER
    assert undelivered_fits(context) == 1
    found = first + claimed(context)
    while more := claimed(context):
        found += more
    assert found == ids


@pytest.mark.parametrize(("priority", "first"), [("low", 1), ("normal", 0), ("high", 0)])
def test_what_matters_more_comes_first(
    context: Context, table: DatasetRequest, priority: str, first: int
) -> None:
    ids = [
        submit(context, table, **more)["id"]
        for more in ({"priority": priority}, {"priority": "normal"})
    ]

    assert claimed(context)[0] == ids[first]


def test_fits_that_were_lost_together_are_tried_alone_and_lose_no_attempt(
    context: Context, table: DatasetRequest
) -> None:
    # given three fits whose worker died
    ids = [submit(context, table)["id"] for _ in range(3)]
    assert claimed(context) == ids
    expire(context)

    # then each is claimed alone, in its first attempt
    assert attempts(context, ids) == [("queued", 1)] * 3
    for fit_id in ids:
        assert claimed(context) == [fit_id]

    # and one that is lost alone has lost an attempt
    expire(context)
    assert attempts(context, ids) == [("queued", 2)] * 3


def test_the_ends_of_several_are_written_at_once(context: Context, table: DatasetRequest) -> None:
    ids = [submit(context, table)["id"] for _ in range(3)]
    claims = lifecycle.claim_waiting(context, FITS_SMALL, "worker")
    assert finish(context, claims[1])

    ends = [
        lifecycle.End(claim, "succeeded", "completed", {"final_loss": float(i)})
        for i, claim in enumerate(claims)
    ]

    assert lifecycle.finish(context, ends) == [True, False, True]
    assert [fits.get_fit(context, fit_id, OWNER)["final_loss"] for fit_id in ids] == [0, 1, 2]
    for fit_id in ids:
        assert context.events.first(fit_id, seconds=1) is not None


def attempts(context: Context, ids: list[str]) -> list[tuple[Any, Any]]:
    shown = fits.get_fits(context, ids, OWNER)
    return [(fit["status"], fit["attempt"]) for fit in shown]


def test_a_renewed_group_is_not_lost(context: Context, table: DatasetRequest) -> None:
    ids = [submit(context, table)["id"] for _ in range(2)]
    claims = lifecycle.claim_waiting(context, FITS_SMALL, "worker")

    for claim in claims:
        assert lifecycle.renew(context, claim, None) == "running"
    lifecycle.sweep(context, time.time())

    assert attempts(context, ids) == [("running", 1)] * 2

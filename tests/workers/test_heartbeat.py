"""The thread that keeps leases: it beats as long as the work lasts, and not longer."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Connection, select

from service import lifecycle
from service.context import Context
from service.database import Database, DatabaseError
from service.database import schema as tables
from service.lifecycle import Claim
from service.schemas.datasets import DatasetRequest
from tests.eventually import eventually
from tests.service.test_lifecycle import ALONE, claimed, expire, submit
from workers.heartbeat import Heartbeat

LEASE_SECONDS = 0.6


@pytest.fixture
def quick(context: Context) -> Context:
    """The same service under short leases."""
    settings = context.settings.model_copy(update={"lease_seconds": LEASE_SECONDS})
    return replace(context, settings=settings)


def held(context: Context, table: DatasetRequest) -> Claim:
    return claimed(context, submit(context, table, **ALONE)["id"])


def lease_of(context: Context, claim: Claim) -> float:
    """Until when the claim holds, in seconds since the epoch."""
    row = tables.fits.c
    with context.database.read() as connection:
        found = connection.execute(select(row.lease_expires_at).where(row.id == claim.fit_id))
        return float(found.scalar_one())


def named(thread: str) -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == thread]


def test_leases_are_kept_while_the_work_lasts_and_not_longer(
    quick: Context, table: DatasetRequest
) -> None:
    claim = held(quick, table)
    first = lease_of(quick, claim)

    # when the work takes longer than a lease
    with Heartbeat(quick, [claim]) as heartbeat:
        eventually(lambda: lease_of(quick, claim) > first + LEASE_SECONDS, 30)
        assert named("heartbeat")

    # then it was kept, and is kept no more once the work is over
    last = lease_of(quick, claim)
    assert not heartbeat.lost(claim)
    assert named("heartbeat") == []
    time.sleep(LEASE_SECONDS)
    assert lease_of(quick, claim) == last


def test_what_was_released_is_left_to_run_out_while_others_are_kept(
    quick: Context, table: DatasetRequest
) -> None:
    released, kept = (held(quick, table) for _ in range(2))

    with Heartbeat(quick, [released, kept]) as heartbeat:
        heartbeat.release(released)
        # A beat may be under way.
        before = lease_of(quick, kept)
        eventually(lambda: lease_of(quick, kept) > before, 30)
        first, before = lease_of(quick, released), lease_of(quick, kept)
        eventually(lambda: lease_of(quick, kept) > before + LEASE_SECONDS, 30)

        assert lease_of(quick, released) == first
        assert not heartbeat.lost(released)


def test_a_claim_that_was_taken_back_is_noticed_and_renewed_no_more(
    quick: Context, table: DatasetRequest
) -> None:
    lost = held(quick, table)

    with Heartbeat(quick, [lost]) as heartbeat:
        expire(quick)
        again = claimed(quick, lost.fit_id, "another")
        first = lease_of(quick, again)
        eventually(lambda: heartbeat.lost(lost), 30)

    assert lease_of(quick, again) == first
    assert lifecycle.renew(quick, again, None) == "running"


class Failing(Database):
    """One that fails for some writes."""

    n_failures = 2

    @contextmanager
    def write(self, *, flushed: bool = True) -> Iterator[Connection]:
        """Fail, or write."""
        self.n_failures -= 1
        if self.n_failures >= 0:
            raise DatabaseError("", None, ConnectionError("the server closed the connection"))
        with super().write(flushed=flushed) as connection:
            yield connection


def test_a_beat_that_fails_ends_no_heartbeat(quick: Context, table: DatasetRequest) -> None:
    claim = held(quick, table)
    first = lease_of(quick, claim)
    database = Failing(quick.settings.database_address)

    with Heartbeat(replace(quick, database=database), [claim]) as heartbeat:
        eventually(lambda: lease_of(quick, claim) > first + LEASE_SECONDS, 30)

    assert database.n_failures < 0
    assert not heartbeat.lost(claim)
    database.close()

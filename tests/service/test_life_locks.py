"""Whoever claims or sweeps waits for no row that another one has locked, and passes it over."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import select

from service import lifecycle
from service.context import Context
from service.database import schema as tables
from service.queue import FITS_CPU
from service.schemas.datasets import DatasetRequest
from tests.installations import PRODUCTION_ALONE
from tests.service.test_lifecycle import ALONE, claimed, expire, status, submit

# SQLite has one lock for all rows.
pytestmark = PRODUCTION_ALONE

# Only so that a test that hangs ends.
SECONDS = 30.0


@pytest.fixture
def both(context: Context, table: DatasetRequest) -> tuple[str, str]:
    """Two fits that wait, the first one first."""
    first, second = (submit(context, table, **ALONE)["id"] for _ in range(2))
    return first, second


@contextmanager
def locked(context: Context, fit_id: str) -> Iterator[None]:
    """Hold the fit's row, as whoever changes it does."""
    row = select(tables.fits.c.id).where(tables.fits.c.id == fit_id).with_for_update()
    with context.database.write() as connection:
        assert connection.execute(row).scalar() == fit_id
        yield


def meanwhile(context: Context, fit_id: str, act: Callable[[], object]) -> None:
    """Act while another one holds the fit."""
    with ThreadPoolExecutor(1) as pool, locked(context, fit_id):
        pool.submit(act).result(SECONDS)


def test_a_claim_passes_over_what_another_one_holds(
    context: Context, both: tuple[str, str]
) -> None:
    first, second = both
    claims: list[lifecycle.Claim] = []

    meanwhile(
        context, first, lambda: claims.extend(lifecycle.claim_waiting(context, FITS_CPU, "worker"))
    )

    assert [claim.fit_id for claim in claims] == [second]
    assert claimed(context, first).fence == 1


def test_a_sweep_passes_over_what_another_one_holds(
    context: Context, both: tuple[str, str]
) -> None:
    first, second = both
    for fit_id in both:
        claimed(context, fit_id)

    meanwhile(context, first, lambda: expire(context))

    assert status(context, first) == ("running", 1)
    assert status(context, second) == ("queued", 2)
    expire(context)
    assert status(context, first) == ("queued", 2)


def test_a_lost_wake_up_is_sent_again_beside_what_another_one_holds(
    context: Context, both: tuple[str, str]
) -> None:
    context.events.client.flushall()

    meanwhile(context, both[0], lambda: lifecycle.sweep(context, time.time() + 6))

    assert context.queue.undelivered(FITS_CPU) == 1

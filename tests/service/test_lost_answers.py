"""A database that commits and whose answer is lost: what the rows name is still there."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from sqlalchemy import Connection

from service import fits, submission
from service.artifacts import store_arrays
from service.context import Context
from service.database import Database, DatabaseError
from service.database import datasets as queries
from service.orphans import forget_orphans
from service.retention import forget_expired
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from service.schemas.lists import ListQuery
from tests.installations import PRODUCTION_ALONE
from tests.service.claiming import finish_one
from tests.service.conftest import OWNER
from tests.service.stored import stored
from tests.service.test_lifecycle import claimed, submit

CLOSED = DatabaseError("", None, ConnectionError("the server closed the connection"))


class Deaf(Database):
    """One whose commits are never heard of."""

    @contextmanager
    def write(self, *, flushed: bool = True) -> Iterator[Connection]:
        with super().write(flushed=flushed) as connection:
            yield connection
        raise CLOSED


class Broken(Database):
    """One that is lost before each commit."""

    @contextmanager
    def write(self, *, flushed: bool = True) -> Iterator[Connection]:
        with super().write(flushed=flushed) as connection:
            yield connection
            raise CLOSED


@contextmanager
def on(context: Context, kind: type[Database]) -> Iterator[Context]:
    """The same service on such a database."""
    database = kind(context.settings.database_address)
    yield Context(context.settings, database, context.storage, context.queue, context.events)
    database.close()


def with_settings(context: Context, **changes: object) -> Context:
    settings = context.settings.model_copy(update=changes)
    return Context(settings, context.database, context.storage, context.queue, context.events)


def submit_inline(context: Context, table: DatasetRequest, **changes: object) -> None:
    """A fit and its table in one transaction."""
    body = {"dataset": {"columns": table.columns}, "target": "y", "steps": 3} | changes
    submission.submit(context, FitRequest.model_validate(body), owner=OWNER)


def listed(context: Context) -> list[str]:
    return [fit["id"] for fit in fits.list_fits(context, ListQuery(), OWNER).data]


def later(context: Context) -> float:
    """When all that a test has made is old."""
    return time.time() + context.settings.orphan_seconds + 1


def test_a_fit_whose_commit_was_not_heard_of_has_its_table(
    context: Context, table: DatasetRequest
) -> None:
    with on(context, Deaf) as deaf, pytest.raises(DatabaseError):
        submit_inline(deaf, table)

    assert len(listed(context)) == 1
    assert forget_orphans(context, later(context)) == 0
    assert len(stored(context)) == 1


def test_a_fit_whose_commit_was_not_heard_of_has_what_it_starts_from(
    context: Context, table: DatasetRequest
) -> None:
    # given a fit with weights, which are objects
    context = with_settings(context, inline_artifact_bytes=0)
    first = submit(context, table)["id"]
    claim = claimed(context, first)
    weights = {"weight": np.zeros((1, 1)), "bias": np.zeros(1)}
    rows = [store_arrays(context, first, claim.fence, "weights", weights)]
    finish_one(
        context, claim, status="succeeded", stop_reason="completed", result={}, artifacts=rows
    )

    with on(context, Deaf) as deaf, pytest.raises(DatabaseError):
        submit_inline(deaf, table, init={"fit": first})

    (second,) = set(listed(context)) - {first}
    forget_orphans(context, later(context))
    assert f"fits/{second}/0/start.safetensors" in stored(context)


def test_what_was_stored_without_a_commit_is_left_to_the_sweeper(
    context: Context, table: DatasetRequest
) -> None:
    with on(context, Broken) as broken, pytest.raises(DatabaseError):
        submit_inline(broken, table)

    assert listed(context) == []
    assert forget_orphans(context, later(context)) == 1
    assert stored(context) == []


@PRODUCTION_ALONE
def test_a_dataset_that_a_fit_is_about_to_need_does_not_expire(
    context: Context, table: DatasetRequest
) -> None:
    # given a dataset whose time is over while whoever submits a fit of it holds it
    kept_seconds = 100.0
    context = with_settings(context, retention_seconds=kept_seconds)
    fit = submit(context, table)
    finish_one(
        context, claimed(context, fit["id"]), status="failed", stop_reason="error", result=None
    )
    after = time.time() + kept_seconds + 1

    # when a sweeper would forget it
    with context.database.write() as connection:
        assert queries.hold_dataset(connection, fit["dataset"]["id"])
        forget_expired(context, after)

    # then it is there until nobody holds it
    assert len(stored(context)) == 1
    forget_expired(context, after)
    assert stored(context) == []

"""Expiry: what is forgotten, when, and what is kept in spite of it."""

import time

import pytest

from service import datasets, fits
from service.context import Context
from service.errors import Gone
from service.retention import forget_expired
from service.schemas.datasets import DatasetRequest
from service.schemas.lists import ListQuery
from tests.service.conftest import OWNER
from tests.service.stored import stored
from tests.service.test_lifecycle import claimed, expire, finish, submit

KEPT_SECONDS = 100.0


@pytest.fixture
def forgetful(context: Context) -> Context:
    settings = context.settings.model_copy(update={"retention_seconds": KEPT_SECONDS})
    return Context(settings, context.database, context.storage, context.queue, context.events)


def after_expiry() -> float:
    return time.time() + KEPT_SECONDS + 1


def test_without_the_setting_nothing_expires(context: Context, table: DatasetRequest) -> None:
    dataset = datasets.create_inline_dataset(context, table, OWNER)

    forget_expired(context, time.time() + 1e9)

    assert dataset["expires_at"] is None
    assert datasets.get_dataset(context, dataset["id"], OWNER) == dataset


def test_an_expired_dataset_is_gone_with_its_object(
    forgetful: Context, table: DatasetRequest
) -> None:
    dataset = datasets.create_inline_dataset(forgetful, table, OWNER)
    assert dataset["expires_at"] > dataset["created_at"]

    forget_expired(forgetful, time.time())
    assert len(stored(forgetful)) == 1
    forget_expired(forgetful, after_expiry())

    assert len(stored(forgetful)) == 0
    assert datasets.list_datasets(forgetful, ListQuery(), OWNER).data == []
    with pytest.raises(Gone):
        datasets.get_dataset(forgetful, dataset["id"], OWNER)


def test_a_dataset_is_kept_until_the_last_fit_that_needs_it_has_ended(
    forgetful: Context, table: DatasetRequest
) -> None:
    fit = submit(forgetful, table)

    forget_expired(forgetful, after_expiry())
    assert len(stored(forgetful)) == 1
    finish(forgetful, claimed(forgetful, fit["id"]))
    forget_expired(forgetful, after_expiry())

    assert len(stored(forgetful)) == 0


def test_a_fit_expires_counted_from_its_end(forgetful: Context, table: DatasetRequest) -> None:
    fit = submit(forgetful, table)
    assert fit["expires_at"] is None
    finish(forgetful, claimed(forgetful, fit["id"]))
    ended = fits.get_fit(forgetful, fit["id"], OWNER)
    assert ended["expires_at"] > ended["finished_at"]

    forget_expired(forgetful, after_expiry())

    with pytest.raises(Gone):
        fits.get_fit(forgetful, fit["id"], OWNER)
    assert fits.list_fits(forgetful, ListQuery(), OWNER).data == []


def test_a_fit_that_lost_all_its_workers_expires_too(
    forgetful: Context, table: DatasetRequest
) -> None:
    fit = submit(forgetful, table)
    for _ in range(forgetful.settings.max_attempts):
        claimed(forgetful, fit["id"])
        expire(forgetful)
    lost = fits.get_fit(forgetful, fit["id"], OWNER)
    assert lost["error"]["code"] == "worker_lost"

    assert lost["expires_at"] > lost["finished_at"]
    forget_expired(forgetful, after_expiry() + 2 * forgetful.settings.lease_seconds)

    with pytest.raises(Gone):
        fits.get_fit(forgetful, fit["id"], OWNER)


def test_what_has_expired_is_gone_before_anyone_sweeps(
    context: Context, table: DatasetRequest
) -> None:
    settings = context.settings.model_copy(update={"retention_seconds": 0.05})
    brief = Context(settings, context.database, context.storage, context.queue, context.events)
    dataset = datasets.create_inline_dataset(brief, table, OWNER)

    time.sleep(0.1)

    assert datasets.list_datasets(brief, ListQuery(), OWNER).data == []
    with pytest.raises(Gone):
        submit(brief, table, dataset=dataset["id"])

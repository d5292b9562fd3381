"""A fit that is to end: at once where it waits, by its worker where it runs."""

import pytest

from service import datasets, fits, lifecycle
from service.context import Context
from service.errors import Conflict, NotFound
from service.schemas.datasets import DatasetRequest
from tests.service.claiming import claim_one
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import claimed, expire, finish, submit


def state(context: Context, fit_id: str) -> tuple[str, str | None]:
    fit = fits.get_fit(context, fit_id, OWNER)
    return fit["status"], fit["stop_reason"]


def test_a_waiting_fit_ends_at_once_and_is_never_claimed(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)

    cancelled = lifecycle.cancel(context, fit["id"], OWNER)

    assert (cancelled["status"], cancelled["stop_reason"]) == ("cancelled", "cancelled")
    assert cancelled["finished_at"] is not None
    assert claim_one(context, fit["id"], "worker") is None
    assert context.events.first(fit["id"], seconds=1) == (
        "end", {"status": "cancelled", "stop_reason": "cancelled"},
    )  # fmt: skip
    datasets.delete_dataset(context, fit["dataset"]["id"], OWNER)


def test_a_running_fit_is_ended_by_its_worker(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)
    claim = claimed(context, fit["id"])

    asked = [lifecycle.cancel(context, fit["id"], OWNER) for _ in range(2)]

    assert [one["status"] for one in asked] == ["cancelling"] * 2
    assert lifecycle.renew(context, claim, None) == "cancelling"
    assert finish(context, claim)
    assert state(context, fit["id"]) == ("cancelled", "cancelled")
    assert fits.get_fit(context, fit["id"], OWNER)["final_loss"] == 1.0
    assert context.events.first(fit["id"], seconds=1) == (
        "end", {"status": "cancelled", "stop_reason": "cancelled"},
    )  # fmt: skip


def test_a_fit_whose_worker_is_lost_meanwhile_ends_too(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)
    claim = claimed(context, fit["id"])
    lifecycle.cancel(context, fit["id"], OWNER)

    assert not lifecycle.requeue(context, claim)
    expire(context)

    assert state(context, fit["id"]) == ("cancelled", "cancelled")
    assert not finish(context, claim)
    assert state(context, fit["id"]) == ("cancelled", "cancelled")


def test_an_end_stays(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)
    finish(context, claimed(context, fit["id"]))

    with pytest.raises(Conflict):
        lifecycle.cancel(context, fit["id"], OWNER)
    with pytest.raises(NotFound):
        lifecycle.cancel(context, fit["id"], "another")

    assert state(context, fit["id"]) == ("succeeded", "completed")

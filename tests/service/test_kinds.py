"""Fits and range tests have one life, and never meet."""

from typing import Any

import pytest

from service import datasets, fits, lifecycle, submission
from service.context import Context
from service.errors import Conflict, Gone, NotFound, QueueFull
from service.kinds import FIT, LR_RANGE_TEST, Kind
from service.retention import forget_expired
from service.schemas.datasets import DatasetRequest
from service.schemas.lists import ListQuery
from service.schemas.lr_range import LrRangeRequest
from tests.service.claiming import claim_one, finish_one, undelivered_fits
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import claimed, expire, submit
from tests.service.test_submission import ended

CURVE = {
    "lr": [0.1, 0.2],
    "loss": [1.0, 2.0],
    "raw_loss": [1.0, 3.0],
    "suggestion": None,
    "reason": "too short",
    "stop_reason": "completed",
}


def submit_test(context: Context, table: DatasetRequest, **changes: Any) -> dict[str, Any]:
    dataset = datasets.create_inline_dataset(context, table, OWNER)
    body = {"dataset": dataset["id"], "target": "y"} | changes
    return submission.submit(context, LrRangeRequest.model_validate(body), owner=OWNER)


def finish_test(context: Context, test_id: str) -> None:
    claim = claimed(context, test_id)
    finish_one(context, claim, status="succeeded", stop_reason="completed", result=CURVE)


def shown(context: Context, test_id: str) -> dict[str, Any]:
    return fits.get_fit(context, test_id, OWNER, LR_RANGE_TEST)


def test_a_range_test_waits_with_every_default_filled_in(
    context: Context, table: DatasetRequest
) -> None:
    test = submit_test(context, table, num_iter=30)

    assert test["id"].startswith("lrt_")
    assert (test["object"], test["status"]) == ("lr_range_test", "queued")
    assert test["result"] is test["fingerprint"] is None
    assert test["progress"]["total_steps"] == 30
    assert shown(context, test["id"]) == test
    assert undelivered_fits(context) == 1
    assert claimed(context, test["id"]).kind == "lr_range_test"


def test_each_kind_is_found_under_its_own_name_alone(
    context: Context, table: DatasetRequest
) -> None:
    ids = {FIT: submit(context, table)["id"], LR_RANGE_TEST: submit_test(context, table)["id"]}

    for kind, others in ((FIT, ids[LR_RANGE_TEST]), (LR_RANGE_TEST, ids[FIT])):
        page = fits.list_fits(context, ListQuery(), OWNER, kind)
        assert [job["id"] for job in page.data] == [ids[kind]]
        with pytest.raises(NotFound, match=kind.noun):
            fits.get_fit(context, others, OWNER, kind)
        with pytest.raises(NotFound, match=kind.noun):
            fits.get_fits(context, [ids[kind], others], OWNER, kind)
        with pytest.raises(NotFound):
            lifecycle.cancel(context, others, OWNER, kind)
        with pytest.raises(NotFound):
            fits.delete_fit(context, others, OWNER, kind)
    with pytest.raises(NotFound):
        fits.read_artifact(context, ids[LR_RANGE_TEST], "weights", OWNER)


def test_pages_hold_one_kind(context: Context, table: DatasetRequest) -> None:
    tests = [
        (submit(context, table), submit_test(context, table, tags=["a"]))[1]["id"] for _ in range(3)
    ]

    first = fits.list_fits(context, ListQuery(limit=2, tag="a"), OWNER, LR_RANGE_TEST)
    rest = fits.list_fits(context, ListQuery(after=first.next_cursor), OWNER, LR_RANGE_TEST)

    assert [job["id"] for job in first.data + rest.data] == sorted(tests, reverse=True)
    assert rest.next_cursor is None
    assert fits.list_fits(context, ListQuery(limit=3), OWNER).next_cursor is None


def test_no_fit_starts_from_a_range_test(context: Context, table: DatasetRequest) -> None:
    test = submit_test(context, table)
    finish_test(context, test["id"])

    with pytest.raises(NotFound) as refused:
        submit(context, table, init={"fit": test["id"]})

    assert refused.value.places[0].pointer == "/init/fit"


def test_a_range_test_starts_from_a_copy_of_a_fits_weights(
    context: Context, table: DatasetRequest
) -> None:
    first = ended(context, table)

    test = submit_test(context, table, init={"fit": first})

    assert test["spec"]["init"] == {"fit": first, "optimizer_state": False}
    with pytest.raises(NotFound) as refused:
        submit_test(context, table, init={"fit": test["id"]})
    assert refused.value.places[0].pointer == "/init/fit"


def test_each_kind_is_reused_for_itself_alone(context: Context, table: DatasetRequest) -> None:
    ended(context, table)
    first = submit_test(context, table)["id"]
    finish_test(context, first)

    again = submit_test(context, table, reuse=True)
    other = submit_test(context, table, reuse=True, end_lr=1.0)

    assert (again["id"], again["status"]) == (first, "succeeded")
    assert other["status"] == "queued"
    with context.database.write() as connection:
        connection.exec_driver_sql("UPDATE fits SET kind = 'fit'")
    assert submit_test(context, table, reuse=True)["status"] == "queued"


def test_an_end_never_changes_and_is_published(context: Context, table: DatasetRequest) -> None:
    test = submit_test(context, table)
    finish_test(context, test["id"])

    with pytest.raises(Conflict, match="learning-rate range test"):
        lifecycle.cancel(context, test["id"], OWNER, LR_RANGE_TEST)

    body = shown(context, test["id"])
    assert (body["status"], body["result"]) == ("succeeded", CURVE)
    assert context.events.first(test["id"], seconds=1) == (
        "end",
        {"status": "succeeded", "stop_reason": "completed"},
    )


def test_a_lost_worker_costs_an_attempt_and_too_many_the_test(
    context: Context, table: DatasetRequest
) -> None:
    test = submit_test(context, table)
    frozen = claimed(context, test["id"])
    expire(context)
    assert shown(context, test["id"])["attempt"] == 2
    assert not lifecycle.renew(context, frozen, None)

    for _ in range(context.settings.max_attempts - 1):
        claimed(context, test["id"])
        expire(context)

    assert shown(context, test["id"])["error"]["code"] == "worker_lost"


@pytest.mark.parametrize("kind", [FIT, LR_RANGE_TEST], ids=lambda kind: kind.name)
def test_a_waiting_job_is_cancelled_at_once(
    context: Context, table: DatasetRequest, kind: Kind
) -> None:
    job = (submit if kind is FIT else submit_test)(context, table)

    cancelled = lifecycle.cancel(context, job["id"], OWNER, kind)

    assert (cancelled["status"], cancelled["object"]) == ("cancelled", kind.name)
    assert claim_one(context, job["id"], "worker") is None


def test_range_tests_wait_in_the_same_bounded_queue(
    context: Context, table: DatasetRequest
) -> None:
    full = Context(
        context.settings.model_copy(update={"max_queued_fits": 1}),
        context.database,
        context.storage,
        context.queue,
        context.events,
    )
    submit(full, table)

    with pytest.raises(QueueFull):
        submit_test(full, table)


def test_a_dataset_is_kept_while_a_range_test_needs_it(
    context: Context, table: DatasetRequest
) -> None:
    test = submit_test(context, table)

    with pytest.raises(Conflict):
        datasets.delete_dataset(context, test["dataset"]["id"], OWNER)
    finish_test(context, test["id"])
    datasets.delete_dataset(context, test["dataset"]["id"], OWNER)


def test_another_dataset_to_validate_by_is_not_kept(
    context: Context, table: DatasetRequest
) -> None:
    other = datasets.create_inline_dataset(
        context, DatasetRequest(columns={"x": [1.0], "y": [1.0]}), OWNER
    )

    test = submit_test(context, table, validation={"dataset": other["id"]})
    datasets.delete_dataset(context, other["id"], OWNER)

    assert claimed(context, test["id"]).validation is None


def test_ended_range_tests_are_deleted_and_expire(context: Context, table: DatasetRequest) -> None:
    deleted, expired = submit_test(context, table)["id"], submit_test(context, table)["id"]
    with pytest.raises(Conflict):
        fits.delete_fit(context, deleted, OWNER, LR_RANGE_TEST)
    for test_id in (deleted, expired):
        finish_test(context, test_id)

    fits.delete_fit(context, deleted, OWNER, LR_RANGE_TEST)
    with context.database.write() as connection:
        connection.exec_driver_sql("UPDATE fits SET expires_at = 1")
    forget_expired(context, 2.0)

    for test_id in (deleted, expired):
        with pytest.raises(Gone):
            shown(context, test_id)
    assert fits.list_fits(context, ListQuery(), OWNER, LR_RANGE_TEST).data == []

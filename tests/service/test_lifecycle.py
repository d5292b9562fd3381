"""The life of a fit: what each step may and may not change."""

import time
from typing import Any

import numpy as np
import pytest

from service import datasets, fits, lifecycle, submission
from service.artifacts import store_arrays
from service.context import Context
from service.errors import Conflict, Gone, InvalidInput, NotFound, QueueFull
from service.lifecycle import Claim
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from service.schemas.lists import ListQuery
from tests.service.claiming import claim_one, finish_one, undelivered_fits
from tests.service.conftest import OWNER
from tests.service.stored import stored

# Too long to be claimed with others.
ALONE = {"steps": 1_000_000, "strategy": "reference"}


def submit(context: Context, table: DatasetRequest, **changes: Any) -> dict[str, Any]:
    dataset = datasets.create_inline_dataset(context, table, OWNER)
    body = {"dataset": dataset["id"], "target": "y", "steps": 3} | changes
    return submission.submit(context, FitRequest.model_validate(body), owner=OWNER)


def claimed(context: Context, fit_id: str, worker: str = "worker") -> Claim:
    claim = claim_one(context, fit_id, worker)
    assert claim is not None
    return claim


def finish(context: Context, claim: Claim) -> bool:
    return finish_one(
        context, claim, status="succeeded", stop_reason="completed", result={"final_loss": 1.0}
    )


def expire(context: Context) -> None:
    lifecycle.sweep(context, time.time() + context.settings.lease_seconds + 1)


def status(context: Context, fit_id: str) -> tuple[str, int]:
    fit = fits.get_fit(context, fit_id, OWNER)
    return fit["status"], fit["attempt"]


def test_a_submitted_fit_waits_with_every_default_filled_in(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)

    assert fit["status"] == "queued"
    assert fit["attempt"] == 1
    assert fit["spec"]["features"] == ["x"]
    assert fit["spec"]["optimizer"]["lr"] == 1e-3
    assert fit["progress"]["total_steps"] == 3
    assert fits.get_fit(context, fit["id"], OWNER) == fit
    assert undelivered_fits(context) == 1


def test_the_spec_of_a_fit_can_be_posted_again(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table, seed={"init": 3}, init={"weights": {"weight": [[1]], "bias": [0]}})

    again = submission.submit(context, FitRequest.model_validate(fit["spec"]), owner=OWNER)

    assert again["spec"] == fit["spec"]


def test_a_fit_is_claimed_once(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)

    first = claim_one(context, fit["id"], "a")
    second = claim_one(context, fit["id"], "b")

    assert first is not None
    assert second is None
    assert status(context, fit["id"]) == ("running", 1)


def test_the_end_is_written_once_and_never_changes(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)
    claim = claimed(context, fit["id"])

    assert finish(context, claim)
    assert not finish(context, claim)
    assert not lifecycle.requeue(context, claim)
    assert not lifecycle.renew(context, claim, None)
    expire(context)

    assert status(context, fit["id"]) == ("succeeded", 1)


def test_an_expired_lease_goes_back_with_one_attempt_more(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)
    claimed(context, fit["id"])

    expire(context)

    assert status(context, fit["id"]) == ("queued", 2)


def test_a_worker_back_from_the_dead_changes_nothing(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)
    frozen = claimed(context, fit["id"], "frozen")
    expire(context)
    current = claimed(context, fit["id"], "current")

    assert not lifecycle.renew(context, frozen, {"step": 1})
    assert not lifecycle.requeue(context, frozen)
    assert not finish(context, frozen)
    assert status(context, fit["id"]) == ("running", 2)
    assert finish(context, current)


def test_a_renewed_lease_does_not_expire_and_shows_the_progress(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)
    claim = claimed(context, fit["id"])

    held = lifecycle.renew(context, claim, {"step": 2})
    lifecycle.sweep(context, time.time())

    assert held
    shown = fits.get_fit(context, fit["id"], OWNER)
    assert (shown["status"], shown["progress"]) == ("running", {"step": 2})


def test_a_fit_that_loses_too_many_workers_fails(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)
    for _ in range(context.settings.max_attempts):
        claimed(context, fit["id"])
        expire(context)

    shown = fits.get_fit(context, fit["id"], OWNER)

    assert (shown["status"], shown["stop_reason"]) == ("failed", "error")
    assert shown["error"]["code"] == "worker_lost"
    assert shown["error"]["category"] == "server"
    assert shown["attempt"] == context.settings.max_attempts


def test_what_a_dead_worker_held_is_taken_back_before_its_lease_is_over(
    context: Context, table: DatasetRequest
) -> None:
    held, others, waits = (submit(context, table, **ALONE) for _ in range(3))
    claimed(context, held["id"], "dead")
    claimed(context, others["id"], "alive")

    lifecycle.note_lost(context, ["dead"], out_of_memory=False)
    lifecycle.sweep(context, time.time())

    assert status(context, held["id"]) == ("queued", 2)
    assert status(context, waits["id"]) == ("queued", 1)
    assert status(context, others["id"]) == ("running", 1)


def test_a_fit_whose_last_worker_was_killed_for_want_of_memory_says_so(
    context: Context, table: DatasetRequest
) -> None:
    most = context.settings.max_attempts
    found = []
    for short_of_memory in (most, most - 1):
        fit = submit(context, table)
        for attempt in range(1, most + 1):
            claimed(context, fit["id"], "worker")
            lifecycle.note_lost(context, ["worker"], out_of_memory=attempt == short_of_memory)
            lifecycle.sweep(context, time.time())
        found.append(fits.get_fit(context, fit["id"], OWNER))

    assert [one["status"] for one in found] == ["failed", "failed"]
    assert [one["error"]["code"] for one in found] == ["out_of_memory", "worker_lost"]
    assert "batch_size" in found[0]["error"]["hint"]


def test_a_clock_that_jumps_costs_at_most_an_attempt(
    context: Context, table: DatasetRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    day_seconds = 86_400.0
    now = time.time()
    ended, held, waits = (submit(context, table, **ALONE) for _ in range(3))
    finish(context, claimed(context, ended["id"]))
    before = fits.get_fit(context, ended["id"], OWNER)
    lost = claimed(context, held["id"])

    # A day ahead: the lease seems to be over, and another worker takes the fit.
    monkeypatch.setattr(time, "time", lambda: now + day_seconds)
    lifecycle.sweep(context, time.time())
    there = claimed(context, held["id"])
    assert not lifecycle.renew(context, lost, None)
    # Every wake-up is lost.
    context.events.client.flushall()

    # And back: neither a lease nor a wake-up of tomorrow is waited for.
    monkeypatch.setattr(time, "time", lambda: now + 10)
    lifecycle.sweep(context, time.time())
    assert status(context, held["id"]) == ("queued", 3)
    assert status(context, waits["id"]) == ("queued", 1)
    assert undelivered_fits(context) == 1
    assert not lifecycle.renew(context, there, None)
    assert finish(context, claimed(context, held["id"]))
    assert finish(context, claimed(context, waits["id"]))
    assert fits.get_fit(context, ended["id"], OWNER) == before


def test_a_drained_fit_waits_again_without_a_lost_attempt(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)
    claim = claimed(context, fit["id"])

    assert lifecycle.requeue(context, claim)

    assert status(context, fit["id"]) == ("queued", 1)
    assert not finish(context, claim)
    assert claimed(context, fit["id"]).fence == claim.fence + 1


def test_a_full_queue_refuses_and_keeps_nothing(context: Context, table: DatasetRequest) -> None:
    full = Context(
        context.settings.model_copy(update={"max_queued_fits": 1}),
        context.database,
        context.storage,
        context.queue,
        context.events,
    )
    submit(full, table)

    with pytest.raises(QueueFull):
        submit(full, table)

    assert len(fits.list_fits(context, ListQuery(), OWNER).data) == 1


def test_an_inline_dataset_becomes_one(context: Context) -> None:
    body = {"dataset": {"columns": {"x": [1, 2], "y": [1, 2]}}, "target": "y", "epochs": 1}

    fit = submission.submit(context, FitRequest.model_validate(body), owner=OWNER)

    kept = datasets.get_dataset(context, fit["dataset"]["id"], OWNER)
    assert (kept["n_rows"], kept["digest"]) == (2, fit["dataset"]["digest"])


def test_a_refused_inline_dataset_leaves_nothing(context: Context) -> None:
    body = {"dataset": {"columns": {"x": [1, 2], "y": [1, 2]}}, "target": "z", "epochs": 1}

    with pytest.raises(InvalidInput):
        submission.submit(context, FitRequest.model_validate(body), owner=OWNER)

    assert datasets.list_datasets(context, ListQuery(), OWNER).data == []
    assert stored(context) == []


def test_another_owners_fit_is_not_there(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)

    with pytest.raises(NotFound):
        fits.get_fit(context, fit["id"], "somebody")
    with pytest.raises(NotFound):
        fits.get_fits(context, [fit["id"]], "somebody")
    assert fits.list_fits(context, ListQuery(), "somebody").data == []


def test_a_dataset_is_kept_while_a_fit_needs_it(context: Context, table: DatasetRequest) -> None:
    fit = submit(context, table)
    dataset_id = fit["dataset"]["id"]

    with pytest.raises(Conflict):
        datasets.delete_dataset(context, dataset_id, OWNER)
    finish(context, claimed(context, fit["id"]))
    datasets.delete_dataset(context, dataset_id, OWNER)

    with pytest.raises(Gone):
        datasets.get_dataset(context, dataset_id, OWNER)
    with pytest.raises(Gone) as refused:
        submit(context, table, dataset=dataset_id)
    assert refused.value.places[0].pointer == "/dataset"


def test_an_ended_fit_can_be_deleted_with_its_artifacts(
    context: Context, table: DatasetRequest
) -> None:
    fit = submit(context, table)
    claim = claimed(context, fit["id"])
    n_numbers = context.settings.inline_artifact_bytes
    large = {"weight": np.random.default_rng(0).normal(size=n_numbers)}
    rows = [store_arrays(context, claim.fit_id, claim.fence, "weights", large)]
    with pytest.raises(Conflict):
        fits.delete_fit(context, fit["id"], OWNER)
    finish_one(
        context, claim, status="succeeded", stop_reason="completed", result={}, artifacts=rows
    )
    kept = fits.read_artifact(context, fit["id"], "weights", OWNER)

    fits.delete_fit(context, fit["id"], OWNER)

    assert np.array_equal(kept["weight"], large["weight"])
    assert [key for key in stored(context) if key.endswith(".safetensors")] == []
    with pytest.raises(Gone):
        fits.read_artifact(context, fit["id"], "weights", OWNER)


def test_pages_follow_each_other_newest_first(context: Context, table: DatasetRequest) -> None:
    ids = [submit(context, table)["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        page = fits.list_fits(context, ListQuery(limit=2, after=cursor), OWNER)
        seen += [fit["id"] for fit in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == sorted(ids, reverse=True)


def test_lists_are_filtered(context: Context, table: DatasetRequest) -> None:
    marked = submit(context, table, tags=['a "quoted" tag'], metadata={"course": "ml"})
    running = submit(context, table, tags=["quoted", 'x"y'])
    claimed(context, running["id"])

    def ids(query: ListQuery) -> list[str]:
        return [fit["id"] for fit in fits.list_fits(context, query, OWNER).data]

    assert ids(ListQuery(tag='a "quoted" tag')) == [marked["id"]]
    assert ids(ListQuery(tag="quoted")) == [running["id"]]
    assert ids(ListQuery(tag='x"y')) == [running["id"]]
    assert ids(ListQuery(tag="y")) == ids(ListQuery(tag="QUOTED")) == []
    assert ids(ListQuery(metadata={"course": "ml"})) == [marked["id"]]
    assert ids(ListQuery(metadata={"course": "other"})) == []
    assert ids(ListQuery(status="running")) == [running["id"]]
    assert ids(ListQuery(created_after=time.time())) == []

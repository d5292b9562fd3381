"""Clients, workers and sweepers at one moment: nobody waits for ever, and every fit ends once."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from service import batch_submission, batches, lifecycle, submission
from service import datasets as dataset_service
from service.api.validation import parse_object
from service.context import Context
from service.database import batches as batch_queries
from service.database import fits as fit_queries
from service.database import schema as tables
from service.errors import Conflict, QueueFull
from service.lifecycle import Claim, End
from service.queue import FITS_SMALL
from service.schemas.batches import BatchRequest
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from service.sweeps import bodies_of
from tests.service.conftest import OWNER

# Only so that a test that hangs ends.
SECONDS = 300.0
N_FITS = 40
GIVEN_BACK = 0.2


def batch_of(context: Context, table: DatasetRequest, n_fits: int) -> str:
    dataset = dataset_service.create_inline_dataset(context, table, OWNER)
    return post_batch(context, dataset["id"], OWNER, n_fits)


def post_batch(context: Context, dataset: Any, owner: str, n_fits: int) -> str:
    fit = {"dataset": dataset, "target": "y", "steps": 3}
    batch = batch_submission.submit_batch(
        context,
        bodies_of(BatchRequest.model_validate({"fits": [fit] * n_fits})),
        batch_submission.About(),
        owner=owner,
        parse=partial(parse_object, FitRequest),
    )
    return str(batch["id"])


def post_fit(context: Context, dataset: Any, owner: str) -> str:
    body = {"dataset": dataset, "target": "y", "steps": 3}
    return str(submission.submit(context, FitRequest.model_validate(body), owner=owner)["id"])


def succeeded(claim: Claim) -> End:
    return End(claim, "succeeded", "completed", {"final_loss": 1.0})


def together(*tasks: Callable[[], None]) -> None:
    """Run each on a thread of its own; raises what the first of them that fails has raised."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result(2 * SECONDS)


class Crowd:
    """Who works on some batches at one moment, and which fits' ends were written."""

    def __init__(self, context: Context, batch_ids: list[str]) -> None:
        self.context = context
        self.batch_ids = batch_ids
        self.ends: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._deadline = time.monotonic() + SECONDS

    def is_over(self) -> bool:
        """Whether every batch has ended; fails where that takes too long."""
        assert time.monotonic() < self._deadline
        return all(batches.has_ended(self.context, batch_id) for batch_id in self.batch_ids)

    def work(self, seed: int) -> None:
        """Claim, renew, give some back and end the others, in any order."""
        drawn = random.Random(seed)  # noqa: S311
        while not self.is_over():
            claims = lifecycle.claim_waiting(self.context, FITS_SMALL, f"worker-{seed}")
            if not claims:
                time.sleep(0.01)
                continue
            drawn.shuffle(claims)
            lifecycle.renew_all(self.context, [(claim, {"step": 1}) for claim in claims])
            for claim in claims:
                if drawn.random() < GIVEN_BACK:
                    lifecycle.requeue(self.context, claim)
            written = lifecycle.finish(self.context, [succeeded(claim) for claim in claims])
            with self._counting:
                self.ends.update(c.fit_id for c, kept in zip(claims, written, strict=True) if kept)

    def take_back(self) -> None:
        """Believe a worker to be dead that is not, and sweep."""
        while not self.is_over():
            lifecycle.note_lost(self.context, ["worker-1"], out_of_memory=False)
            lifecycle.sweep(self.context, time.time())
            time.sleep(0.02)

    def cancel(self) -> None:
        """Cancel some batches on the way."""
        for batch_id in self.batch_ids[:2]:
            time.sleep(0.1)
            try:
                batches.cancel_batch(self.context, batch_id, OWNER)
            except Conflict:
                assert batches.has_ended(self.context, batch_id)


def test_fits_end_once_whoever_meets(context: Context, table: DatasetRequest) -> None:
    crowd = Crowd(context, [batch_of(context, table, N_FITS) for _ in range(5)])

    together(
        *(partial(crowd.work, seed) for seed in range(3)),
        crowd.take_back,
        crowd.take_back,
        crowd.cancel,
    )

    assert set(crowd.ends.values()) == {1}
    for batch_id in crowd.batch_ids:
        counts = batches.get_batch(context, batch_id, OWNER)["counts"]
        assert counts["queued"] == counts["running"] == 0
        assert sum(counts.values()) == N_FITS


def test_two_last_fits_that_end_at_one_moment_end_their_batch(
    context: Context, table: DatasetRequest
) -> None:
    for _ in range(10):
        # given two workers with a batch's last two fits
        batch_id = batch_of(context, table, 2)
        [first, second] = lifecycle.claim_waiting(context, FITS_SMALL, "worker")
        start = threading.Barrier(2)

        # when both write the ends
        def finish(claim: Claim, start: threading.Barrier = start) -> None:
            start.wait(SECONDS)
            assert lifecycle.finish(context, [succeeded(claim)]) == [True]

        together(partial(finish, first), partial(finish, second))

        # then the batch's end is noted, without a sweep
        with context.database.read() as connection:
            row = batch_queries.find_batch(connection, batch_id)
        assert row is not None
        assert row.finished_at is not None


def test_a_cancel_meets_a_fit_that_is_given_back(context: Context, table: DatasetRequest) -> None:
    for _ in range(10):
        # given a running fit
        batch_id = batch_of(context, table, 1)
        [claim] = lifecycle.claim_waiting(context, FITS_SMALL, "worker")
        start = threading.Barrier(2)

        # when it is cancelled and given back at one moment
        def cancel(claim: Claim = claim, start: threading.Barrier = start) -> None:
            start.wait(SECONDS)
            lifecycle.cancel(context, claim.fit_id, OWNER)

        def give_back(claim: Claim = claim, start: threading.Barrier = start) -> None:
            start.wait(SECONDS)
            lifecycle.requeue(context, claim)

        together(cancel, give_back)

        # then it is not lost between the two: it has ended, or its worker is to end it
        lifecycle.finish(context, [succeeded(claim)])
        assert batches.get_batch(context, batch_id, OWNER)["status"] == "cancelled"


def test_the_last_places_of_the_queue_are_given_once(
    context: Context, table: DatasetRequest
) -> None:
    # given a queue with room for two
    room = 2
    settings = context.settings.model_copy(update={"max_queued_fits": room})
    full = Context(settings, context.database, context.storage, context.queue, context.events)
    inline = {"columns": {"x": [1.0, 2.0, 5.0], "y": [2.0, 3.0, 4.0]}}
    known = [
        dataset_service.create_inline_dataset(context, table, f"owner-{i}")["id"] for i in range(4)
    ]
    posts = (
        *(partial(post_fit, full, dataset, f"owner-{i}") for i, dataset in enumerate(known)),
        *(partial(post_fit, full, inline, f"owner-{i}") for i in range(2)),
        *(partial(post_batch, full, known[i], f"owner-{i}", room) for i in range(2)),
    )
    for _ in range(10):
        start = threading.Barrier(len(posts))

        # when fits on tables of their own and on known ones, and batches, come at one moment
        def post(one: Callable[[], str], start: threading.Barrier = start) -> None:
            start.wait(SECONDS)
            with suppress(QueueFull):
                one()

        together(*(partial(post, one) for one in posts))

        # then as many are taken as there was room for, and no more
        with context.database.write() as connection:
            assert 0 < fit_queries.count_queued(connection) <= room
            connection.execute(tables.fits.delete())
            connection.execute(tables.batches.delete())

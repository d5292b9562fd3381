"""What a batch may come to, and what stays of one that is refused: nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from service import datasets, submission
from service.artifacts import load_artifact, store_arrays
from service.batch_submission import About, submit_batch
from service.context import Context
from service.errors import InvalidInput, KeyInFlight, QueueFull
from service.idempotency import Ticket, redeem
from service.schemas.batches import BatchRequest
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from service.sweeps import bodies_of
from tests.service.claiming import finish_one
from tests.service.conftest import OWNER
from tests.service.stored import stored
from tests.service.test_lifecycle import claimed, submit

BASE: dict[str, Any] = {
    "dataset": {"columns": {"x": [1.0, 2.0, 3.0], "y": [2.0, 3.0, 4.5]}}, "target": "y", "steps": 3,
}  # fmt: skip
SEEDS = [*range(10)]
MANY_NUMBERS = {"checks": [{"target": "final_loss", "expected": [0.5] * 20_000}]}
TABLE = {"dataset": {"generator": {"kind": "linear", "n": 5_000, "seed": 0, "coef": [2]}}}
TAKEN = Ticket(OWNER, "key-1", "sha256:other", 60.0)


def bounded(context: Context, **bounds: int) -> Context:
    return replace(context, settings=context.settings.model_copy(update=bounds))


def sweep(
    context: Context, base: dict[str, Any], grid: dict[str, Any], ticket: Ticket | None = None
) -> dict[str, Any]:
    bodies = bodies_of(BatchRequest.model_validate({"base": base, "grid": grid}))
    parse = FitRequest.model_validate
    return submit_batch(context, bodies, About(), owner=OWNER, parse=parse, ticket=ticket)


@pytest.mark.parametrize(
    ("more", "varied"), [(MANY_NUMBERS, "seed"), (TABLE, "dataset.generator.seed")]
)
def test_a_short_body_that_comes_to_too_many_bytes_is_refused(
    context: Context, more: dict[str, Any], varied: str
) -> None:
    narrow = bounded(context, max_batch_bytes=500_000)

    with pytest.raises(InvalidInput) as error:
        sweep(narrow, BASE | more, {varied: SEEDS})

    (place,) = error.value.places
    assert place.code == "too_many_bytes"
    assert "limit of 500000 bytes (THALWEG_MAX_BATCH_BYTES)" in place.detail
    assert not [path for path in stored(context) if path.endswith(".arrow")]
    # and a batch of half as many is none too large
    assert sweep(narrow, BASE | more, {varied: SEEDS[:3]})["n_fits"] == 3


@pytest.fixture
def start(context: Context, table: DatasetRequest) -> dict[str, Any]:
    """A base that starts from an ended fit."""
    fit = submit(context, table)
    claim = claimed(context, fit["id"])
    arrays = {"weight": np.ones((1, 1), np.float32), "bias": np.zeros(1, np.float32)}
    row = store_arrays(context, fit["id"], claim.fence, "weights", arrays)
    finish_one(
        context, claim, status="succeeded", stop_reason="completed", result={}, artifacts=[row]
    )
    return BASE | {"init": {"fit": fit["id"]}}


def test_the_copies_of_a_starting_point_count(
    context: Context, table: DatasetRequest, start: dict[str, Any]
) -> None:
    # given fits whose specs alone are as large as a batch may be
    start |= {"dataset": datasets.create_inline_dataset(context, table, OWNER)["id"]}
    alone = submission.submit(context, FitRequest.model_validate(start), owner=OWNER)
    spec_bytes = len(orjson.dumps(alone["spec"]))
    with pytest.raises(InvalidInput) as error:
        sweep(bounded(context, max_batch_bytes=10 * spec_bytes), start, {"seed": SEEDS})

    assert error.value.places[0].code == "too_many_bytes"
    copy_bytes = len(load_artifact(context, start["init"]["fit"], "weights"))
    roomy = bounded(context, max_batch_bytes=10 * (spec_bytes + copy_bytes))
    assert sweep(roomy, start, {"seed": SEEDS})["n_fits"] == 10


def test_a_full_queue_has_nothing_stored(context: Context, start: dict[str, Any]) -> None:
    full = bounded(context, inline_artifact_bytes=0, max_queued_fits=10)
    sweep(full, BASE, {"seed": [0]})
    before = stored(context)

    with pytest.raises(QueueFull):
        sweep(full, start, {"seed": SEEDS})

    assert stored(context) == before


def test_what_was_stored_for_a_refused_request_goes_again(
    context: Context, start: dict[str, Any]
) -> None:
    # given a key that another request has taken, which only the transaction finds out
    outside = bounded(context, inline_artifact_bytes=0)
    kept = datasets.create_inline_dataset(context, DatasetRequest(**BASE["dataset"]), OWNER)
    with context.database.write() as connection:
        redeem(connection, TAKEN, "fit_other")
    before = stored(context)

    with pytest.raises(KeyInFlight):
        sweep(outside, start, {"seed": SEEDS}, TAKEN)
    request = FitRequest.model_validate(start | {"dataset": kept["id"]})
    with pytest.raises(KeyInFlight):
        submission.submit(outside, request, owner=OWNER, ticket=TAKEN)

    assert stored(context) == before

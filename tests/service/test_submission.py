"""What a fit names beside its dataset: rows to validate by, another fit, an earlier equal one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service import datasets, fits, submission
from service.artifacts import load_arrays, store_arrays
from service.context import Context
from service.errors import Conflict, Gone, InvalidInput, NotFound, ThalwegError
from service.lifecycle import StoredDataset
from service.retention import forget_expired
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from service.starts import START, START_STATE
from tests.service.claiming import finish_one, undelivered_fits
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import claimed, finish, submit

COLOURS = DatasetRequest(columns={"x": [1.0, 2.0], "c": ["red", "blue"], "y": [2.0, 3.0]})
WEIGHTS = {"weight": np.array([[1.5]]), "bias": np.array([0.5])}
STATE = {"facts": np.zeros(3, np.uint8)}


def added(context: Context, **columns: list[Any]) -> dict[str, Any]:
    return datasets.create_inline_dataset(context, DatasetRequest(columns=columns), OWNER)


def ended(context: Context, table: DatasetRequest, *, state: bool = True, **changes: Any) -> str:
    """The id of a fit that has ended, with weights and perhaps its inner state."""
    fit = submit(context, table, **changes)
    claim = claimed(context, fit["id"])
    kept = {"weights": WEIGHTS} | ({"state": STATE} if state else {})
    rows = [store_arrays(context, fit["id"], claim.fence, *one) for one in kept.items()]
    finish_one(
        context, claim, status="succeeded", stop_reason="completed", result={}, artifacts=rows
    )
    return str(fit["id"])


def refused(context: Context, table: DatasetRequest, **changes: Any) -> ThalwegError:
    with pytest.raises(ThalwegError) as error:
        submit(context, table, **changes)
    return error.value


def test_the_claim_knows_the_dataset_to_validate_by(
    context: Context, table: DatasetRequest
) -> None:
    other = added(context, y=[1.0, 2.0], x=[0.0, 1.0], more=[5.0, 6.0])

    fit = submit(context, table, validation={"dataset": other["id"]})

    assert fit["spec"]["validation"] == {"dataset": other["id"]}
    validation = claimed(context, fit["id"]).validation
    assert isinstance(validation, StoredDataset)
    assert validation.n_rows == 2
    assert [column["name"] for column in validation.columns] == ["y", "x", "more"]
    assert fits.get_fit(context, fit["id"], OWNER)["dataset"]["n_rows"] == 3


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"x": [1.0], "y": [1.0]}, "the column 'c' is missing"),
        ({"x": [1.0], "c": [3.0], "y": [1.0]}, "'c' is a number here, and a category"),
        ({"x": [1.0], "c": ["green"], "y": [1.0]}, "'c' has 'green'"),
    ],
)
def test_a_dataset_that_cannot_validate_is_refused(
    context: Context, columns: dict[str, Any], told: str
) -> None:
    other = added(context, **columns)

    error = refused(context, COLOURS, validation={"dataset": other["id"]})

    assert isinstance(error, InvalidInput)
    assert told in error.detail
    assert [p.pointer for p in error.places] == ["/validation/dataset"]


def test_a_dataset_to_validate_by_must_be_there(context: Context, table: DatasetRequest) -> None:
    other = added(context, x=[1.0], y=[1.0])
    datasets.delete_dataset(context, other["id"], OWNER)

    for named, kind in (("ds_none", NotFound), (other["id"], Gone)):
        error = refused(context, table, validation={"dataset": named})
        assert isinstance(error, kind)
        assert error.places[0].pointer == "/validation/dataset"


def test_a_dataset_to_validate_by_is_kept_while_it_is_needed(
    context: Context, table: DatasetRequest
) -> None:
    other = added(context, x=[1.0], y=[1.0])
    fit = submit(context, table, validation={"dataset": other["id"]})
    with context.database.write() as connection:
        connection.exec_driver_sql("UPDATE datasets SET expires_at = 1")

    with pytest.raises(Gone):
        datasets.get_dataset(context, other["id"], OWNER)
    forget_expired(context, 2.0)
    validation = claimed(context, fit["id"]).validation
    assert validation is not None
    assert context.storage.get(validation.storage_key)


def test_a_dataset_to_validate_by_is_not_deleted_before_the_end(
    context: Context, table: DatasetRequest
) -> None:
    other = added(context, x=[1.0], y=[1.0])
    fit = submit(context, table, validation={"dataset": other["id"]})

    with pytest.raises(Conflict):
        datasets.delete_dataset(context, other["id"], OWNER)
    finish(context, claimed(context, fit["id"]))

    datasets.delete_dataset(context, other["id"], OWNER)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("optimizer_state", [False, True])
def test_a_start_is_a_copy_that_outlives_the_other_fit(
    context: Context, table: DatasetRequest, *, inline: bool, optimizer_state: bool
) -> None:
    if not inline:
        settings = context.settings.model_copy(update={"inline_artifact_bytes": 0})
        context = replace(context, settings=settings)
    first = ended(context, table)
    init = {"fit": first, "optimizer_state": optimizer_state}

    fit = submit(context, table, init=init)
    fits.delete_fit(context, first, OWNER)

    assert fit["spec"]["init"] == init
    start = load_arrays(context, fit["id"], START)
    assert {name: array.tolist() for name, array in start.items()} == {
        "weight": [[1.5]], "bias": [0.5],
    }  # fmt: skip
    if optimizer_state:
        assert load_arrays(context, fit["id"], START_STATE).keys() == STATE.keys()
    else:
        with pytest.raises(NotFound):
            load_arrays(context, fit["id"], START_STATE)


def test_a_fit_with_a_start_may_bring_its_dataset(context: Context, table: DatasetRequest) -> None:
    first = ended(context, table)
    body = {"dataset": table.model_dump(), "target": "y", "steps": 1, "init": {"fit": first}}

    fit = submission.submit(context, FitRequest.model_validate(body), owner=OWNER)

    assert load_arrays(context, fit["id"], START)["bias"].tolist() == [0.5]


def test_a_start_must_be_there(context: Context, table: DatasetRequest) -> None:
    waiting = submit(context, table)["id"]
    deleted = ended(context, table)
    fits.delete_fit(context, deleted, OWNER)
    diverged = ended(context, table, state=False)

    def told(**init: Any) -> tuple[type, str, str | None]:
        error = refused(context, table, init=init)
        return type(error), error.places[0].code, error.places[0].pointer

    assert told(fit="fit_none") == (NotFound, "not_found", "/init/fit")
    assert told(fit=deleted) == (Gone, "gone", "/init/fit")
    assert told(fit=waiting) == (InvalidInput, "no_weights", "/init/fit")
    assert told(fit=diverged, optimizer_state=True) == (
        InvalidInput, "no_state", "/init/optimizer_state",
    )  # fmt: skip


def test_a_start_must_suit_the_model_and_the_optimizer(
    context: Context, table: DatasetRequest
) -> None:
    first = ended(context, table)
    init = {"fit": first, "optimizer_state": True}

    unbiased = refused(context, table, init=init, model={"kind": "linear", "bias": False})
    adam = refused(context, table, init=init, optimizer={"kind": "adam"})
    faster = submit(context, table, init=init, optimizer={"kind": "sgd", "lr": 0.5})

    assert "weight 1×1, bias 1 (2 numbers); the model needs weight 1×1 (1 numbers)" in (
        unbiased.detail
    )
    assert [(p.code, p.pointer) for p in adam.places] == [
        ("other_optimizer", "/init/optimizer_state")
    ]
    assert faster["status"] == "queued"


def test_an_earlier_equal_fit_is_reused(context: Context, table: DatasetRequest) -> None:
    first = ended(context, table)

    again = submit(context, table, reuse=True, tags=["again"])

    assert (again["id"], again["status"]) == (first, "succeeded")
    assert undelivered_fits(context) == 1


def test_an_earlier_equal_fit_is_reused_for_a_dataset_on_the_spot(
    context: Context, table: DatasetRequest
) -> None:
    first = ended(context, table)
    body = {"dataset": table.model_dump(), "target": "y", "steps": 3, "reuse": True}

    again = submission.submit(context, FitRequest.model_validate(body), owner=OWNER)
    other = submission.submit(context, FitRequest.model_validate(body), owner="another")

    assert again["id"] == first
    assert other["status"] == "queued"


def test_what_is_not_equal_is_not_reused(context: Context, table: DatasetRequest) -> None:
    first = ended(context, table)
    others = DatasetRequest(columns={"x": [1.0, 2.0], "y": [2.0, 3.5]})

    assert submit(context, table)["id"] != first
    assert submit(context, table, reuse=True, seed=1)["id"] != first
    assert submit(context, others, reuse=True)["id"] != first
    fits.delete_fit(context, first, OWNER)
    assert submit(context, table, reuse=True)["id"] != first

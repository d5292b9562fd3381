"""A request looked at as if it were queued: the same spec or the same refusal, and nothing kept."""

from dataclasses import asdict
from typing import Any

import pytest

from service import datasets, fits, submission
from service.context import Context
from service.errors import QueueFull, ThalwegError
from service.rehearsal import rehearse
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from service.schemas.lists import ListQuery
from tests.service.claiming import undelivered_fits
from tests.service.conftest import OWNER
from tests.service.stored import stored
from tests.service.test_submission import ended

INLINE = {"columns": {"x": [1.0, 2.0, 3.0], "c": ["a", "b", "a"], "y": [2.0, 3.0, 4.0]}}


def request(**changes: Any) -> FitRequest:
    return FitRequest.model_validate({"dataset": INLINE, "target": "y", "steps": 3} | changes)


def kept(context: Context) -> tuple[int, int, list[str]]:
    """The numbers of fits and datasets, and all that the store holds."""
    query = ListQuery(limit=1000)
    n_fits = len(fits.list_fits(context, query, OWNER).data)
    n_datasets = len(datasets.list_datasets(context, query, OWNER).data)
    return n_fits, n_datasets, stored(context)


def test_nothing_is_queued_or_kept(context: Context, table: DatasetRequest) -> None:
    stored = datasets.create_inline_dataset(context, table, OWNER)["id"]
    before = kept(context)

    rehearse(context, request(), owner=OWNER)
    rehearse(context, request(dataset=stored), owner=OWNER)
    rehearse(context, request(dataset={"generator": {"kind": "xor", "n": 50}}), owner=OWNER)

    assert kept(context) == before
    assert undelivered_fits(context) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"standardize": True, "validation": {"fraction": 0.3}, "seed": {"init": 3}},
        {"model": {"kind": "mlp", "hidden": [4]}, "optimizer": {"kind": "adam"}},
        {"tags": ["a"], "metadata": {"k": "v"}, "reuse": True},
    ],
)
def test_the_spec_is_the_one_that_a_fit_keeps(context: Context, changes: dict[str, Any]) -> None:
    told = rehearse(context, request(**changes), owner=OWNER)
    fit = submission.submit(context, request(**changes), owner=OWNER)

    described = told["spec"].pop("dataset")
    assert told["spec"] == {k: v for k, v in fit["spec"].items() if k != "dataset"}
    stored = datasets.get_dataset(context, fit["dataset"]["id"], OWNER)
    assert described == {name: stored[name] for name in described}
    assert {*described} == {"name", "digest", "n_rows", "size_bytes", "columns"}
    again = rehearse(context, FitRequest.model_validate(fit["spec"]), owner=OWNER)
    assert again["spec"] == fit["spec"]


def test_what_a_request_names_is_looked_up(context: Context, table: DatasetRequest) -> None:
    first = ended(context, table)
    other = datasets.create_inline_dataset(context, table, OWNER)["id"]
    named = {"dataset": other, "init": {"fit": first}, "validation": {"dataset": other}}

    told = rehearse(context, request(**named), owner=OWNER)

    assert {name: told["spec"][name] for name in named} == named | {
        "init": {"fit": first, "optimizer_state": False}
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "ds_none"},
        {"dataset": {"columns": {"x": [1.0, None], "y": [1.0, 2.0]}}},
        {"target": "z"},
        {"init": {"fit": "fit_none"}},
        {"init": {"weights": {"weight": [[1.0]]}}},
        {"validation": {"dataset": "ds_none"}},
        {"steps": 10**9},
        {"batch_size": 5, "drop_last": True},
    ],
)
def test_what_cannot_be_queued_is_refused_alike(context: Context, changes: dict[str, Any]) -> None:
    def refusal(use_case: Any) -> tuple[Any, ...]:
        with pytest.raises(ThalwegError) as error:
            use_case(context, request(**changes), owner=OWNER)
        return type(error.value), error.value.detail, [asdict(p) for p in error.value.places]

    assert refusal(rehearse) == refusal(submission.submit)
    assert kept(context)[:2] == (0, 0)


def test_a_full_queue_refuses_no_rehearsal(context: Context) -> None:
    full = Context(
        context.settings.model_copy(update={"max_queued_fits": 0}),
        *(context.database, context.storage, context.queue, context.events),
    )

    with pytest.raises(QueueFull):
        submission.submit(full, request(), owner=OWNER)
    assert rehearse(full, request(), owner=OWNER)["n_parameters"] == 4

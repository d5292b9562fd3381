"""Errands: what a request waits for is done, and told."""

import pytest

from service import datasets
from service.context import Context
from service.plots import Plot
from service.schemas.datasets import DatasetRequest
from service.schemas.plots import PlotOptions
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import submit
from tests.workers.test_runner import run
from workers import inputs
from workers.errands import run_errand


def draw(context: Context, fit_id: str, kind: str, **options: int) -> tuple[str, dict[str, object]]:
    arguments = {"fit_id": fit_id, "kind": kind, "plot_format": "png", "options": options}
    run_errand(context, "t", "plot", arguments)
    told = context.events.first("t", seconds=1)
    assert told is not None
    return told


@pytest.mark.parametrize("kind", ["loss", "fit"])
def test_a_picture_is_drawn_and_told(context: Context, table: DatasetRequest, kind: str) -> None:
    fit = run(context, submit(context, table))

    assert draw(context, fit["id"], kind) == ("done", {})
    assert context.storage.get(Plot(kind, "png", PlotOptions()).key(fit["id"])).startswith(
        b"\x89PNG"
    )


def test_a_picture_whose_dataset_is_gone_says_so(context: Context, table: DatasetRequest) -> None:
    fit = run(context, submit(context, table))
    datasets.delete_dataset(context, fit["dataset"]["id"], OWNER)
    inputs._tables.clear()

    outcome, told = draw(context, fit["id"], "fit")

    assert (outcome, told["code"]) == ("refused", "gone")


def test_a_picture_that_cannot_be_drawn_is_told_as_failed(
    context: Context, table: DatasetRequest
) -> None:
    fit = run(context, submit(context, table))

    assert draw(context, fit["id"], "fit", dpi=0)[0] == "failed"

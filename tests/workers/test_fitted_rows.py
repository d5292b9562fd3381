"""An ended fit's own rows: those that were fitted to and those that were held out."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import datasets
from service.context import Context
from service.schemas.datasets import DatasetRequest
from service.storage import MissingObject
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import submit
from tests.workers.test_runner import run
from workers.engine import Data
from workers.fitted import Fitted
from workers.fitted_rows import opened_split, sampled
from workers.measuring import measure

WEIGHED = DatasetRequest(
    columns={
        "x": list(range(40)),
        "c": ["a", "b", "b", "c"] * 10,
        "w": [0.5, 1.0] * 20,
        "y": ["no", "yes", "yes", "no", "yes"] * 8,
    }
)


@pytest.mark.parametrize(
    "validation", [None, {"fraction": 0.3}, {"fraction": 0.3, "stratify": True}]
)
def test_they_are_split_as_the_fit_split_them(
    context: Context, validation: dict[str, Any] | None
) -> None:
    fit = run(context, submit(context, WEIGHED, model={"kind": "logistic"}, sample_weight="w",
                              validation=validation, seed=3, standardize=True))  # fmt: skip
    fitted = Fitted.load(context, fit["id"])

    with opened_split(context, fitted) as split:
        parts = {"train": split.train, "validation": split.validation}
        for name, rows in parts.items():
            if rows is None:
                assert fit["metrics"][name] is None
                continue
            measured = measure(fitted.spec, fitted.weights, fitted.scaling, fitted.classes, rows)
            assert measured == fit["metrics"][name]
            assert rows.read(0, rows.shape.n_rows).weight is not None


def test_rows_of_a_dataset_that_is_gone_are_missing(context: Context) -> None:
    fit = run(context, submit(context, WEIGHED, model={"kind": "logistic"}))
    datasets.delete_dataset(context, fit["dataset"]["id"], OWNER)

    with (
        pytest.raises(MissingObject),
        opened_split(context, Fitted.load(context, fit["id"])),
    ):
        pass


@given(n_rows=st.integers(1, 300), most=st.integers(1, 300), n_features=st.integers(1, 3))
def test_a_sample_is_even_and_has_both_ends(n_rows: int, most: int, n_features: int) -> None:
    x = np.arange(float(n_rows * n_features)).reshape(n_rows, n_features)
    rows = Data(x, np.arange(float(n_rows))[:, None], np.ones(n_rows))

    kept = sampled(rows, most)

    places = kept.y[:, 0].astype(int)
    assert len(places) == min(n_rows, most)
    assert places[0] == 0
    assert most == 1 or places[-1] == n_rows - 1
    assert len(places) < 3 or np.ptp(np.diff(places)) <= 1
    assert np.array_equal(kept.x, x[places])


def test_a_sample_of_wide_rows_is_bounded_by_its_bytes() -> None:
    wide = Data(np.zeros((300, 100_000)), np.zeros((300, 1)))

    assert len(sampled(wide, 300).x) == 83

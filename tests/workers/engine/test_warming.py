"""Nothing is compiled while a fit waits."""

import itertools
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.drawn import Case, cases
from tests.workers.engine.given import noisy_plane, sgd, specification
from tests.workers.engine.test_rules import SCHEDULED
from workers.engine import (
    Data,
    Specification,
    fit,
    kernel_rows,
    kernels,
    schedule_loops,
    spectral_loops,
    warm_up,
)

# Those of both dtypes, and those that compute in float64 alone.
OF_DTYPES: list[Any] = [kernels.descend, kernel_rows.lay_all]
LOOPS: list[Any] = [
    *OF_DTYPES,
    *(spectral_loops.descend, spectral_loops.turn),
    *(schedule_loops.anneal, schedule_loops.restart, schedule_loops.decay_polynomially),
    *(schedule_loops.cycle, schedule_loops.cycle_once),
]

WARM = cache(warm_up)
EXTRAS: dict[str, Any] = {
    "validation": {"fraction": 0.2, "stratify": False},
    "early_stopping": {
        "monitor": "validation_loss", "patience": 5, "min_delta": 0, "restore_best": True
    },
    "tolerance": 1e-3,
    "clip_grad_norm": 1,
    "penalty": {"l1": 0, "l2": 1},
    "record": {"every": 2, "weights": True, "gradients": True},
}  # fmt: skip


def test_warm_up_compiles_for_every_fit() -> None:
    # given a warm process
    warm_up()
    before = [loop.signatures for loop in LOOPS]
    n_dtypes = [2 if loop in OF_DTYPES else 1 for loop in LOOPS]
    assert [len(signatures) for signatures in before] == n_dtypes

    # when fits of every kind are computed, numbers given as whole ones and arrays read-only
    data = noisy_plane(n_targets=2)
    frozen = Data(x=data.x.copy(order="F"), y=data.y)
    frozen.x.flags.writeable = False
    cases = itertools.product((None, 7), ("float32", "float64"), (True, False), (data, frozen))
    for batch_size, dtype, bias, rows in cases:
        spec = specification(
            batch_size=batch_size,
            dtype=dtype,
            model={"kind": "linear", "bias": bias},
            optimizer=sgd(lr=1, momentum=1),
            strategy="kernels",
        )
        fit(spec, rows)

    # then they ran on what there was
    assert [loop.signatures for loop in LOOPS] == before


@given(case=cases(most_steps=3), dtype=st.sampled_from(["float32", "float64"]), extra=st.booleans())
@settings(max_examples=60)
def test_warm_up_compiles_for_every_kind(case: Case, dtype: str, *, extra: bool) -> None:
    # given a warm process
    WARM()
    before = [loop.signatures for loop in LOOPS]

    # when any kind of fit is computed
    spec, data = case
    changes = {"dtype": dtype, "strategy": "kernels"} | (EXTRAS if extra else {})
    fit(Specification.from_mapping(spec | changes | {"drop_last": False}), data)

    # then it ran on what there was
    assert [loop.signatures for loop in LOOPS] == before


def test_warm_up_compiles_for_every_closed_form() -> None:
    # given a warm process
    warm_up()
    before = [loop.signatures for loop in LOOPS]
    data = noisy_plane(n_targets=2)

    # when fits use all that a closed form may have, one step or many, whole arguments or not
    cases = itertools.product((1, 30), (None, *SCHEDULED), ({}, EXTRAS))
    for steps, schedule, extras in cases:
        scheduler = schedule and {"kind": schedule[0], "interval": "step"} | schedule[2]
        if schedule and schedule[0] == "reduce_on_plateau":
            continue
        changes: dict[str, Any] = {"steps": steps, "strategy": "spectral", "scheduler": scheduler}
        fit(specification(optimizer=sgd(lr=1, momentum=0.5), **changes, **extras), data)

    # then they ran on what there was
    assert [loop.signatures for loop in LOOPS] == before

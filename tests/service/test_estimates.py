"""What a fit would take: the numbers that are exact, and the laws of those that are not."""

from typing import Any, get_args

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.errors import InvalidInput
from service.estimates import estimate
from service.fit_sizes import is_compiled, is_large, sizes_of
from service.memory_estimates import STATE_NUMBERS
from service.resolution import resolve
from service.schemas.fits import FitRequest
from service.schemas.optimizers import Optimizer
from service.settings import Settings
from workers.engine import Shape, Specification, SpecificationError
from workers.engine.optimizers import Optimizer as EngineOptimizer
from workers.engine.planner import choose_strategy

KINDS = [get_args(m.model_fields["kind"].annotation)[0] for m in get_args(get_args(Optimizer)[0])]
NETWORK = {"kind": "mlp", "hidden": [7, 5]}


def dataset(n_rows: int, n_features: int = 3) -> dict[str, Any]:
    names = [*(f"x{i}" for i in range(n_features)), "y"]
    column = {"type": "number", "min": 0, "max": 1, "mean": 0.5, "std": 0.1, "n_distinct": 9}
    return {
        "id": "ds_1", "n_rows": n_rows, "columns": [{"name": name} | column for name in names],
    }  # fmt: skip


def estimated(n_rows: int = 1000, n_features: int = 3, **changes: Any) -> dict[str, Any]:
    body = {"dataset": "ds_1", "target": "y", "dtype": "float64"} | changes
    request = FitRequest.model_validate({"steps": 100} | body if "epochs" not in body else body)
    facts = dataset(n_rows, n_features)
    return estimate(request, resolve(request, facts, Settings()), facts, None)


def test_every_optimizer_has_its_state_counted() -> None:
    assert [*STATE_NUMBERS] == KINDS


@pytest.mark.parametrize(
    "given_",
    [
        *({"kind": kind} for kind in KINDS if kind != "lbfgs"),
        {"kind": "sgd", "momentum": 0.9},
        {"kind": "adam", "amsgrad": True},
        {"kind": "adamw", "amsgrad": True},
        {"kind": "rmsprop", "momentum": 0.9, "centered": True},
    ],
    ids=str,
)
def test_the_state_is_torchs(given_: dict[str, Any]) -> None:
    spec = TypeAdapter(Optimizer).validate_python(given_).model_dump()
    parameter = torch.nn.Parameter(torch.ones(50, 2))
    optimizer = EngineOptimizer.from_mapping(spec).build([parameter])
    parameter.square().sum().backward()
    optimizer.step()

    kept = [value for value in optimizer.state[parameter].values() if torch.is_tensor(value)]

    assert sum(value.numel() for value in kept if value.numel() > 1) == (
        100 * STATE_NUMBERS[spec["kind"]](spec)
    )


def test_a_search_remembers_two_vectors_an_iteration() -> None:
    spec = TypeAdapter(Optimizer).validate_python({"kind": "lbfgs", "history_size": 6}).model_dump()
    parameter = torch.nn.Parameter(torch.arange(1.0, 51.0))
    optimizer = torch.optim.LBFGS([parameter], history_size=6, max_iter=12, lr=0.01)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = parameter.pow(4).sum()
        loss.backward()
        return loss

    optimizer.step(closure)

    state = optimizer.state[parameter]
    n_numbers = sum(v.numel() for name in ("old_dirs", "old_stps") for v in state[name])
    assert n_numbers == 50 * 12
    assert STATE_NUMBERS["lbfgs"](spec) >= 12


def test_parameters_are_counted() -> None:
    assert estimated()["n_parameters"] == 4
    assert estimated(model={"kind": "linear", "bias": False})["n_parameters"] == 3
    assert estimated(model=NETWORK)["n_parameters"] == 4 * 7 + 8 * 5 + 6


def test_memory_is_added_up() -> None:
    adam: dict[str, Any] = {"optimizer": {"kind": "adam"}, "strategy": "reference"}
    # Of a step: 13 numbers where it is recorded, 3 anyway, and 10 of its epoch.
    numbers = 100 * (13 + 3 + 10)
    # Rows of 4 numbers: a table twice, a matrix, and what the steps take; then of an output 5, and
    # the heap as much again.
    numbers += 1000 * (4 * (2 + 1 + 1) + 2 * 5)
    # Of 4 parameters 14 copies, and 3 of either moment.
    numbers += 4 * (14 + 3 * 2)
    assert estimated(**adam)["memory_bytes"] == 8 * numbers

    kept = estimated(record={"every": 10, "weights": True}, **adam)
    assert kept["memory_bytes"] == 8 * (numbers + 3 * 10 * 4 - 90 * 13)
    half = estimated(dtype="float32", **adam)
    assert half["memory_bytes"] == 8 * numbers - 4 * (1000 * (4 + 2 * 5) + 4 * (14 + 3 * 2))


def test_a_table_larger_than_memory_is_read_in_windows() -> None:
    n_rows = 100_000_000
    found = estimated(n_rows, epochs=1, batch_size=1000)

    assert found["memory_bytes"] < 2**30 < n_rows * 4 * 8


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from([NETWORK, NETWORK | {"batch_norm": True, "dropout": 0.1}]),
        "optimizer": st.sampled_from(KINDS).map(lambda kind: {"kind": kind}),
        "batch_size": st.sampled_from([2, 64, 100_000]),
        "validation": st.just({"fraction": 0.25}),
        "penalty": st.just({"l2": 0.1}),
        "strategy": st.just("streaming"),
        "record": st.just({"weights": True}),
    },
)


@given(changes=CHANGES, n_rows=st.integers(10, 10_000), n_epochs=st.integers(1, 500))
def test_more_of_anything_takes_no_less(
    changes: dict[str, Any], n_rows: int, n_epochs: int
) -> None:
    try:
        base = estimated(n_rows, epochs=n_epochs, **changes)
        larger = [
            estimated(2 * n_rows, epochs=n_epochs, **changes),
            estimated(n_rows, epochs=2 * n_epochs, **changes),
            estimated(n_rows, 6, epochs=n_epochs, **changes),
        ]
    except InvalidInput:
        # A batch norm cannot take a batch of one row.
        assume(False)

    assert base["seconds"] > 0
    assert base["memory_bytes"] > 0
    for more in larger:
        assert more["seconds"] >= base["seconds"]
        assert more["memory_bytes"] >= base["memory_bytes"]


def test_no_fit_takes_longer_than_it_may() -> None:
    assert estimated(steps=10_000_000, limits={"max_seconds": 2.5}, strategy="reference")[
        "seconds"
    ] == (2.5)


SHAPES = [(300, 3), (200_000, 20)]


@given(
    changes=st.fixed_dictionaries(
        {
            "optimizer": st.sampled_from(KINDS).map(lambda kind: {"kind": kind}),
            "batch_size": st.sampled_from([8, 150_000]),
        },
        optional={
            "model": st.sampled_from(
                [NETWORK, NETWORK | {"dropout": 0.1}, {"kind": "mlp", "hidden": [600]}]
            ),
            "loss": st.sampled_from([{"kind": "mae"}, {"kind": "huber"}]),
            "scheduler": st.sampled_from(
                [{"kind": "step", "step_size": 2}, {"kind": "reduce_on_plateau"}]
            ),
            "penalty": st.just({"l1": 0.1}),
            "validation": st.just({"fraction": 0.25}),
            "strategy": st.sampled_from(["reference", "kernels"]),
        },
    ),
    shape=st.sampled_from(SHAPES),
)
def test_what_is_compiled_is_the_planners_choice(
    changes: dict[str, Any], shape: tuple[int, int]
) -> None:
    n_rows, n_features = shape
    assume(changes["batch_size"] < n_rows * 0.75)
    facts = dataset(n_rows, n_features)
    body = {"dataset": "ds_1", "target": "y", "epochs": 2} | changes
    request = FitRequest.model_validate(body)
    try:
        spec = resolve(request, facts, Settings())
    except InvalidInput:
        assume(False)
    n_training = n_rows - n_rows // 4 if "validation" in changes else n_rows
    size = Shape(n_training, n_features, 1)
    try:
        chosen = choose_strategy(Specification.from_mapping(spec), size)
    except SpecificationError:
        chosen = "none"

    sizes = sizes_of(request, spec, facts, None)
    assert is_compiled(request, sizes) == (chosen == "kernels")
    assert is_large(request, sizes) == (chosen == "large")

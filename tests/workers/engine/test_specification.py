"""The specification that the API's JSON becomes."""

import dataclasses

import numpy as np
import pytest

from tests.workers.engine.given import mapping, sgd, specification
from workers.engine import Data, Shape, Specification, SpecificationError, check
from workers.engine.models import Linear


def test_a_mapping_becomes_a_specification() -> None:
    # given a resolved object, the service's own keys among the engine's
    given = mapping(optimizer=sgd(lr=0.1, momentum=0.9, nesterov=True), batch_size=8, seed=5)

    # when the engine reads it
    spec = Specification.from_mapping(given)

    # then it holds what was said
    assert spec.model == Linear(bias=True)
    assert spec.optimizer.kind == "sgd"
    assert spec.optimizer.lr == 0.1
    assert dict(spec.optimizer.arguments) == {
        "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0, "dampening": 0.0,
    }  # fmt: skip
    assert dataclasses.astuple(spec.seeds) == (5, 5, 5)
    assert (spec.batch_size, spec.steps, spec.epochs) == (8, 20, None)


def test_seeds_may_be_given_apart() -> None:
    spec = specification(seed={"init": 1, "shuffle": 2, "split": 3})
    assert dataclasses.astuple(spec.seeds) == (1, 2, 3)


def test_a_specification_is_frozen() -> None:
    spec = specification()
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.dtype = "float32"  # type: ignore[misc]


@pytest.mark.parametrize("key", ["model", "loss", "optimizer", "init"])
def test_an_unknown_kind_is_refused(key: str) -> None:
    with pytest.raises(SpecificationError) as caught:
        specification(**{key: {"kind": "other"}})
    assert caught.value.pointer == f"/{key}/kind"
    assert "no 'other'" in caught.value.detail


@pytest.mark.parametrize("length", [(None, None), (3, 3)])
def test_a_fit_has_one_length(length: tuple[int | None, int | None]) -> None:
    with pytest.raises(SpecificationError, match="epochs or steps"):
        specification(epochs=length[0], steps=length[1])


@pytest.mark.parametrize("changes", [{"momentum": 0.0}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_what_torch_asks_for(changes: dict[str, float]) -> None:
    with pytest.raises(SpecificationError, match="momentum above 0"):
        specification(optimizer=sgd(nesterov=True, **changes))


def test_a_batch_that_drop_last_leaves_out_is_refused() -> None:
    # given a batch larger than the data
    spec = specification(batch_size=11, drop_last=True)

    # then it is refused where it would be dropped
    with pytest.raises(SpecificationError, match="no batch") as caught:
        check(spec, Shape(n_rows=10, n_features=1, n_targets=1))
    assert caught.value.pointer == "/batch_size"
    check(spec, Shape(n_rows=11, n_features=1, n_targets=1))


@pytest.mark.parametrize(
    ("x", "y"),
    [((3,), (3, 1)), ((3, 1), (3,)), ((3, 1), (4, 1)), ((0, 1), (0, 1)), ((3, 0), (3, 1))],
)
def test_data_are_two_matrices_of_as_many_rows(x: tuple[int, ...], y: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Data(x=np.zeros(x), y=np.zeros(y))

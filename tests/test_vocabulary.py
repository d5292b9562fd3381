"""The contract's kinds, the engine's tables and the README's lists name the same things."""

import inspect
import re
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from service.plots import PLOT_KINDS
from service.schemas.inits import NamedInit
from service.schemas.losses import Loss
from service.schemas.models import Mlp, Model
from service.schemas.optimizers import Optimizer
from service.schemas.schedules import Schedule
from service.suitability import SUITABLE
from service.weight_shapes import weight_shapes
from tests import readme
from tests.workers.engine.given import specification
from workers.engine import Shape
from workers.engine.initialization import SCHEMES
from workers.engine.losses import LOSSES
from workers.engine.models import MODELS
from workers.engine.networks import ACTIVATIONS, OUTPUTS
from workers.engine.optimizers import OPTIMIZERS
from workers.engine.schedules import SCHEDULES

VOCABULARY = {
    "models": (Model, MODELS),
    "losses": (Loss, LOSSES),
    "inits": (NamedInit, ("default", *SCHEMES)),
    "optimizers": (Optimizer, OPTIMIZERS),
    "schedules": (Schedule, SCHEDULES),
}


def listed(name: str) -> list[str]:
    """The names in a row of the README's table, without arguments and remarks."""
    row = re.search(rf"^\| {name} \| (.*) \|$", readme.TEXT, re.M)
    assert row is not None
    names = re.sub(r"\([^)]*\)|; or .*", "", row[1])
    return re.findall(r"`(\w+)`", names)


def kinds(union: Any) -> list[str]:
    """The tags of a tagged union, in its order."""
    members = get_args(get_args(union)[0])
    return [get_args(member.model_fields["kind"].annotation)[0] for member in members]


@pytest.mark.parametrize("name", VOCABULARY)
def test_one_list_of_kinds(name: str) -> None:
    union, table = VOCABULARY[name]

    assert kinds(union) == list(table) == listed(name)


def test_one_list_of_activations_and_outputs() -> None:
    fields = Mlp.model_fields

    assert list(get_args(fields["activation"].annotation)) == list(ACTIVATIONS)
    assert listed("activations") == list(ACTIVATIONS)
    assert list(get_args(fields["output"].annotation)) == list(OUTPUTS)


# How torch computes, and what JSON cannot say or a fit says otherwise.
NOT_TAKEN = {
    "params", "foreach", "capturable", "differentiable", "fused",
    "optimizer", "last_epoch", "scale_fn", "scale_mode", "epochs", "steps_per_epoch",
}  # fmt: skip


@pytest.mark.parametrize(("union", "table"), [(Optimizer, OPTIMIZERS), (Schedule, SCHEDULES)])
def test_arguments_and_defaults_are_torchs(union: Any, table: Mapping[str, Any]) -> None:
    for member in get_args(get_args(union)[0]):
        fields = dict(member.model_fields)
        (kind,) = get_args(fields.pop("kind").annotation)
        fields.pop("interval", None)
        parameters = inspect.signature(table[kind]).parameters

        assert set(fields) == set(parameters) - NOT_TAKEN, kind
        for name, field in fields.items():
            default = parameters[name].default
            if field.is_required():
                assert default is inspect.Parameter.empty
            else:
                assert field.default == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "linear", "bias": False},
        {"kind": "polynomial"},
        {"kind": "softmax"},
        {"kind": "mlp", "hidden": []},
        {"kind": "mlp", "hidden": [4, 3], "batch_norm": True},
    ],
)
def test_the_service_and_the_engine_know_the_same_shapes(model: dict[str, Any]) -> None:
    asked: Any = TypeAdapter(Model).validate_python(model)
    spec = specification(model=asked.model_dump())

    shape = Shape(10, 5, 1, n_classes=3) if model["kind"] == "softmax" else Shape(10, 5, 3)
    assert weight_shapes(asked, 5, 3) == spec.model.weight_shapes(shape)


def test_every_model_has_losses_and_every_loss_a_model() -> None:
    assert set(SUITABLE) == set(MODELS)
    assert {kind for suitable in SUITABLE.values() for kind in suitable} == set(LOSSES)


def test_the_readme_lists_every_picture() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", readme.section("Pictures"), re.M)

    assert tuple(rows) == PLOT_KINDS

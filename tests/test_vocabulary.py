"""The contract's kinds, the engine's tables and the README's lists name the same things."""

import re
from typing import Any, get_args

import pytest

from service.schemas.losses import Loss
from service.schemas.models import Model
from service.schemas.optimizers import Optimizer
from service.schemas.schedules import Schedule
from service.suitability import SUITABLE
from tests import readme
from workers.engine.losses import LOSSES
from workers.engine.models import MODELS
from workers.engine.optimizers import OPTIMIZERS
from workers.engine.schedules import SCHEDULES

VOCABULARY = {
    "models": (Model, MODELS),
    "losses": (Loss, LOSSES),
    "optimizers": (Optimizer, OPTIMIZERS),
    "schedules": (Schedule, SCHEDULES),
}


def kinds(union: Any) -> list[str]:
    """The tags of a tagged union, in its order."""
    members = get_args(get_args(union)[0])
    return [get_args(member.model_fields["kind"].annotation)[0] for member in members]


@pytest.mark.parametrize("name", VOCABULARY)
def test_one_list_of_kinds(name: str) -> None:
    union, table = VOCABULARY[name]
    row = re.search(rf"^\| {name} \| (.*) \|$", readme.TEXT, re.M)
    assert row is not None
    # What stands in brackets are arguments and remarks.
    listed = re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", row[1]))

    assert kinds(union) == list(table) == listed


def test_every_model_has_losses_and_every_loss_a_model() -> None:
    assert set(SUITABLE) == set(MODELS)
    assert {kind for suitable in SUITABLE.values() for kind in suitable} == set(LOSSES)

"""The real lifecycle, on both databases, against a model of it."""

from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from pydantic import SecretStr

from service import datasets
from service.context import Context
from service.schemas.datasets import DatasetRequest
from tests.service.conftest import OWNER
from tests.service.life_expected import LEASE_SECONDS, MAX_ATTEMPTS
from tests.service.life_model import CLOCKED, Life
from tests.service.life_parts import MortalDatabase


@pytest.mark.slow
def test_a_fit_ends_once_whatever_happens(
    context: Context, table: DatasetRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1e9)
    clock.time = lambda: clock.now
    for module in CLOCKED:
        monkeypatch.setattr(module, "time", clock)
    dataset = datasets.create_inline_dataset(context, table, OWNER)
    changes = {
        "lease_seconds": LEASE_SECONDS,
        "max_attempts": MAX_ATTEMPTS,
        "webhook_secret": SecretStr("whsec_" + "c2VjcmV0" * 4),
    }
    changed = context.settings.model_copy(update=changes)
    database = MortalDatabase(changed.database_address)
    mortal = Context(changed, database, context.storage, context.queue, context.events)

    class ThisLife(Life):
        def __init__(self) -> None:
            super().__init__(mortal, clock, dataset["id"])

    run_state_machine_as_test(
        ThisLife,
        settings=settings(
            max_examples=80,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )

    database.close()

"""Messages that are owed, and a courier that delivers them at a moment of the test's choice."""

import time
from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr
from sqlalchemy import select

from service.context import Context
from service.database.schema import deliveries
from service.schemas.datasets import DatasetRequest
from service.settings import Settings
from service.webhooks import Ended, owe
from tests.eventually import eventually
from tests.receiver import SECRET
from tests.service.claiming import claim_one
from tests.service.test_lifecycle import finish, submit
from workers.delivering import Courier


def sending(settings: Settings) -> Settings:
    """Settings that send messages, to this machine too."""
    changes = {"webhook_secret": SecretStr(SECRET), "webhook_allow_private": True}
    return settings.model_copy(update=changes)


def states(context: Context) -> list[tuple[str, int]]:
    """The state of each message, and how often it was tried."""
    with context.database.read() as connection:
        rows = connection.execute(select(deliveries).order_by(deliveries.c.id)).fetchall()
    return [(row.state, row.n_tries) for row in rows]


def ended(context: Context, table: DatasetRequest, url: str, **webhook: Any) -> str:
    """A fit that has succeeded and is to tell the address; its id."""
    fit = submit(context, table, webhook={"url": url} | webhook)
    claim = claim_one(context, fit["id"], "worker")
    assert claim is not None
    assert finish(context, claim)
    return str(fit["id"])


def deliver_due(context: Context, now: float | None = None) -> int:
    """Try what is due at that moment, the present unless it is given; how many tries there were."""
    moment = time.time() if now is None else now
    n_before = _n_tries(context)
    courier = Courier(context, clock=lambda: moment)
    courier.wake()
    eventually(lambda: not courier.busy, 60)
    return _n_tries(context) - n_before


def _n_tries(context: Context) -> int:
    return sum(n for _, n in states(context))


def owe_to(context: Context, owner: str, urls: Sequence[str], now: float | None = None) -> None:
    """Messages of the owner's about jobs that have just ended, one to each address."""
    events = ["fit.succeeded"]
    ends = [
        Ended(
            job_id=f"fit_{i}",
            kind="fit",
            owner=owner,
            spec={"webhook": {"url": url, "events": events}},
            status="succeeded",
            stop_reason="completed",
        )
        for i, url in enumerate(urls)
    ]
    with context.database.write() as connection:
        owe(connection, ends, time.time() if now is None else now)

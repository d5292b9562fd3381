"""Messages to a real receiver on loopback: their signatures, and what they tell."""

import json
import subprocess
import time
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from service import datasets, lifecycle, submission
from service.context import Context, open_context
from service.errors import InvalidInput
from service.keys import create_key, revoke_key
from service.lifecycle import End
from service.limits import Limits
from service.queue import WEBHOOKS
from service.schemas.datasets import DatasetRequest
from service.schemas.lr_range import LrRangeRequest
from service.settings import Settings
from tests import readme
from tests.receiver import SECRET, Receiver
from tests.service.claiming import claim_one
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import expire, finish, submit
from tests.workers.webhooks.owed import deliver_due, ended, states


def test_an_owners_messages_are_signed_with_the_secret_of_each_of_their_keys(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    # given an owner with two keys, and one that holds no more
    old, new, revoked = (create_key(context.database, OWNER, ["write"], Limits()) for _ in range(3))
    revoke_key(context.database, revoked["id"])

    ended(context, table, receiver.url)
    assert deliver_due(context) == 1

    # then a receiver that knows one of those that hold takes the message
    (headers, body), = receiver.got  # fmt: skip
    for key in (old, new):
        assert Webhook(key["webhook_secret"]).verify(body, headers)
    for secret in (revoked["webhook_secret"], SECRET):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers)


def test_an_end_is_told_by_a_signed_message(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    fit_id = ended(context, table, receiver.url)

    assert context.queue.undelivered(WEBHOOKS) == 1
    assert deliver_due(context) == 1

    (headers, body), = receiver.got  # fmt: skip
    told = Webhook(SECRET).verify(body, headers)
    assert told["type"] == "fit.succeeded"
    assert told["data"] == {"id": fit_id, "status": "succeeded"}
    assert told.keys() == {"type", "timestamp", "data"}
    assert told["timestamp"].endswith("Z")
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"].startswith("msg_")
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"succeeded", b"failed"), headers)
    assert states(context) == [("delivered", 1)]
    assert deliver_due(context, time.time() + 1e6) == 0


def test_the_readmes_receiver_reads_them(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    written: dict[str, Any] = {}
    exec(readme.code("Webhooks", "python"), written)  # noqa: S102 (our own README)
    fit_id = ended(context, table, receiver.url)
    deliver_due(context)
    (headers, body), = receiver.got  # fmt: skip

    told = written["read"](body, headers, SECRET)

    shown = json.loads(readme.code("Webhooks", "json"))
    assert told == shown | {
        "timestamp": told["timestamp"], "data": {"id": fit_id, "status": "succeeded"},
    }  # fmt: skip


def test_the_readmes_secret_is_one() -> None:
    command = readme.code("Webhooks", "sh") + "echo $THALWEG_WEBHOOK_SECRET"
    shell = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    settings = Settings(webhook_secret=SecretStr(shell.stdout.strip()))

    assert settings.webhook_secret is not None


def test_a_range_test_is_told_as_what_it_is(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    dataset = datasets.create_inline_dataset(context, table, OWNER)
    body = {"dataset": dataset["id"], "target": "y", "webhook": {"url": receiver.url}}
    request = LrRangeRequest.model_validate(body)
    test = submission.submit(context, request, owner=OWNER)
    claim = claim_one(context, test["id"], "worker")
    assert claim is not None
    assert finish(context, claim)

    deliver_due(context)

    (headers, sent), = receiver.got  # fmt: skip
    told = Webhook(SECRET).verify(sent, headers)
    assert told["type"] == "lr_range_test.succeeded"
    assert told["data"]["id"] == test["id"]


def test_every_way_to_end_is_told_once(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    # given fits that end in every way
    webhook = {"url": receiver.url}
    waited, running, lost, dying = (submit(context, table, webhook=webhook) for _ in range(4))
    lifecycle.cancel(context, waited["id"], OWNER)
    claim = claim_one(context, running["id"], "worker")
    assert claim is not None
    lifecycle.cancel(context, running["id"], OWNER)
    assert finish(context, claim)
    claim_one(context, dying["id"], "worker")
    lifecycle.cancel(context, dying["id"], OWNER)
    for _ in range(context.settings.max_attempts):
        claim_one(context, lost["id"], "worker")
        expire(context)
    failed = submit(context, table, webhook=webhook)
    claim = claim_one(context, failed["id"], "worker")
    assert claim is not None
    lifecycle.finish(context, [End(claim, "failed", "diverged", None)])
    # One that is written twice is told once.
    lifecycle.finish(context, [End(claim, "failed", "diverged", None)])

    # when all that is owed is delivered
    while deliver_due(context, time.time() + 60):
        pass

    # then each end was told, once
    told = [Webhook(SECRET).verify(body, headers) for headers, body in receiver.got]
    assert {one["data"]["id"]: one["type"] for one in told} == {
        waited["id"]: "fit.cancelled",
        running["id"]: "fit.cancelled",
        dying["id"]: "fit.cancelled",
        lost["id"]: "fit.failed",
        failed["id"]: "fit.failed",
    }
    assert len(told) == 5
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 5


def test_only_what_was_asked_for_is_told(
    context: Context, table: DatasetRequest, receiver: Receiver
) -> None:
    ended(context, table, receiver.url, events=["fit.failed", "fit.cancelled"])

    assert deliver_due(context) == 0
    assert context.queue.undelivered(WEBHOOKS) == 0
    assert states(context) == []


def test_without_a_secret_nothing_is_promised(context: Context, table: DatasetRequest) -> None:
    bare = open_context(context.settings.model_copy(update={"webhook_secret": None}))

    with pytest.raises(InvalidInput) as refused:
        submit(bare, table, webhook={"url": "https://example.org"})

    bare.close()
    (place,) = refused.value.places
    assert (place.code, place.pointer) == ("webhook_secret_missing", "/webhook")

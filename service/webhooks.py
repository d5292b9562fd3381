"""Messages to clients' own servers: owed by the very write that ends a job, delivered later.

They follow Standard Webhooks: thin, signed, one id over all their tries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from service.context import Context
from service.database import Connection
from service.database import deliveries as queries
from service.database import webhook_hosts as hosts
from service.database.keys import webhook_secrets_of
from service.errors import InvalidInput, Place
from service.ids import new_id, rfc3339
from service.schemas.webhooks import Webhook

# For the operator who looks for what became of a message.
_KEPT_SECONDS = 7 * 86_400.0
_FORGOTTEN_AT_ONCE = 1000


@dataclass(frozen=True)
class Ended:
    """A job of some kind whose end is being written; `spec` is the one that it keeps."""

    job_id: str
    kind: str
    owner: str
    spec: Mapping[str, Any]
    status: str
    stop_reason: str

    @property
    def message(self) -> str:
        """The type of its message."""
        return f"{self.kind}.{self.status}"

    @property
    def address(self) -> str | None:
        """Where its message goes; None where nobody wants it."""
        webhook = self.spec.get("webhook")
        return webhook["url"] if webhook and self.message in webhook["events"] else None


def webhook_secrets(context: Context, owner: str) -> list[str]:
    """What the owner's messages are signed with, `whsec_…`; none where nothing is configured.

    Those of all their keys that hold, so that a receiver that knows one of them goes on while
    another one is made; without a key the service's own.
    """
    with context.database.read() as connection:
        own = webhook_secrets_of(connection, owner)
    secret = context.settings.webhook_secret
    return own if own or secret is None else [secret.get_secret_value()]


def refuse_undeliverable(context: Context, webhook: Webhook | None, owner: str) -> None:
    """Raise InvalidInput for what could never be delivered, with the pointer."""
    if webhook is None:
        return
    if not webhook_secrets(context, owner):
        detail = "no secret is configured to sign messages with (THALWEG_WEBHOOK_SECRET)"
        raise _refusal("webhook_secret_missing", detail, "/webhook")
    with context.database.read() as connection:
        off = queries.is_off(connection, owner, webhook.url)
    if off:
        detail = "this address has answered 410 Gone and is switched off; give another one"
        raise _refusal("webhook_switched_off", detail, "/webhook/url")


def _refusal(code: str, detail: str, pointer: str) -> InvalidInput:
    return InvalidInput(detail, places=[Place(code, detail, pointer)])


def owe(connection: Connection, ended: Sequence[Ended], now: float) -> None:
    """Note what is to be delivered, in the transaction that writes the ends."""
    rows = [_message(one, one.address, now) for one in ended if one.address is not None]
    if rows:
        queries.insert_deliveries(connection, rows)


def _message(ended: Ended, url: str, now: float) -> dict[str, Any]:
    body = {
        "type": ended.message,
        "timestamp": rfc3339(now),
        "data": {"id": ended.job_id, "status": ended.status},
    }
    return {
        "id": new_id("msg"),
        "owner": ended.owner,
        "subject": ended.job_id,
        "url": url,
        "host": _host(url),
        "body": orjson.dumps(body).decode(),
        "created_at": now,
        "state": "waiting",
        "n_tries": 0,
        "next_at": now,
    }


def _host(url: str) -> str:
    """Whom a try connects to, `example.org:443`: addresses that share it are away together."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def send_due(context: Context, now: float) -> None:
    """Wake a worker where a message's time has come, and forget those of long ago."""
    with context.database.read() as connection:
        due = queries.any_due(connection, now)
        old = queries.any_old(connection, now - _KEPT_SECONDS)
    if due:
        context.queue.deliver()
    if old:
        with context.database.write() as connection:
            hosts.forget_hosts(connection, now - _KEPT_SECONDS)
    # In pieces, for SQLite has one writer at a time.
    while old:
        with context.database.write() as connection:
            n = queries.forget_deliveries(connection, now - _KEPT_SECONDS, _FORGOTTEN_AT_ONCE)
        old = n == _FORGOTTEN_AT_ONCE

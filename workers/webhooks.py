"""One message to a client's own server, signed as Standard Webhooks has it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from ssl import SSLContext

import httpcore
from standardwebhooks import Webhook

from workers.addresses import GuardedBackend

_CONNECT_SECONDS = 5.0
_WHOLE_SECONDS = 15.0


@dataclass(frozen=True)
class Message:
    """What is sent, and where to: `body` is JSON, `secrets` are `whsec_…`."""

    id: str
    url: str
    body: str
    secrets: Sequence[str] = field(repr=False)


@dataclass(frozen=True)
class Reply:
    """How it went: the HTTP status, or why there is none."""

    status: int | None
    error: str | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver has the message."""
        return (
            self.status is not None and HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES
        )

    @property
    def unwanted(self) -> bool:
        """Whether the receiver wants no more messages."""
        return self.status == HTTPStatus.GONE


def send(message: Message, *, now: float, allow_private: bool) -> Reply:
    """POST the message; `now` is the time of this try, seconds since the epoch.

    No redirect is followed, and what is answered beside the status is not read.
    """
    backend = GuardedBackend(
        allow_private=allow_private, deadline=time.monotonic() + _WHOLE_SECONDS
    )
    pool = httpcore.ConnectionPool(ssl_context=_trusted(), network_backend=backend)
    try:
        with (
            pool,
            pool.stream(
                "POST",
                message.url,
                headers=_headers(message, now),
                content=message.body.encode(),
                extensions={"timeout": {"connect": _CONNECT_SECONDS}},
            ) as answer,
        ):
            return Reply(answer.status)
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        return Reply(None, str(error) or type(error).__name__)


def _headers(message: Message, now: float) -> list[tuple[bytes | str, bytes | str]]:
    moment = datetime.fromtimestamp(int(now), UTC)
    return [
        ("Content-Type", "application/json"),
        ("User-Agent", f"Thalweg/{version('thalweg')}"),
        ("webhook-id", message.id),
        ("webhook-timestamp", str(int(now))),
        ("webhook-signature", _signature(message, moment)),
    ]


def _signature(message: Message, moment: datetime) -> str:
    """One of each secret: a receiver takes the message by any that it knows."""
    return " ".join(
        Webhook(secret).sign(message.id, moment, message.body) for secret in message.secrets
    )


@cache
def _trusted() -> SSLContext:
    """The certificates of public authorities; they take a while to load."""
    return httpcore.default_ssl_context()

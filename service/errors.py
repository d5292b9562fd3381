"""The tree of errors that the service raises, each leaf with its stable code.

ThalwegError
├── InvalidInput            what the client sent means nothing here
│   ├── InvalidTable        a table that cannot be read
│   └── KeyReused           the key belongs to another request
├── Malformed               the body is not what its content type says
├── UnsupportedMediaType
├── TooLarge
├── NotAcceptable
├── Unauthorized            no key, or none that holds
├── Forbidden               the key lacks a scope
├── RateLimited             too many requests
│   └── QuotaExceeded       the owner has too much of something
├── NotFound
│   └── PlotNotApplicable
├── Gone
├── Conflict
│   └── KeyInFlight         the first request with this key is still being answered
├── QueueFull
├── Unavailable             a part of the service is missing for now
│   ├── TooManyStreams
│   └── WorkersBusy         as many requests wait for workers as may
├── Damaged                 what was stored is no longer what was written
├── WorkerFailed            a worker crashed at what a request asked for
├── DemoFailed              the demo's service refused a step of it
└── StartFailed             the launcher cannot start a part
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Place:
    """One thing to mend, and where it stands.

    `pointer` is an RFC 6901 JSON Pointer into the body; `row` counts a table's data rows from 0.
    """

    code: str
    detail: str
    pointer: str | None = None
    row: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class Quota:
    """How much of something an owner may have, and what of that is left; `name` as headers say it.

    `unit` is one of those of draft-ietf-httpapi-ratelimit-headers; None counts what is asked for.
    """

    name: str
    amount: int
    remaining: int
    unit: str | None = None


class ThalwegError(Exception):
    """Anything that the service refuses or fails at; `code` is stable, `detail` says what to do.

    Where the same call may work later, `retry_after_seconds` says when.
    """

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    retry_after_seconds: int | None = None

    def __init__(
        self, detail: str, *, places: Sequence[Place] = (), retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.places = tuple(places)
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds


class InvalidInput(ThalwegError):
    """The body is well formed, but means nothing here."""

    code = "invalid_input"
    title = "Invalid input"


class InvalidTable(InvalidInput):
    """The uploaded table cannot be read."""

    code = "invalid_table"
    title = "Invalid table"


class KeyReused(InvalidInput):
    """The Idempotency-Key came with another request before."""

    code = "idempotency_key_reused"
    title = "Idempotency key reused"


class Malformed(ThalwegError):
    """The body is not what its content type says it is."""

    code = "malformed_body"
    title = "Malformed body"


class UnsupportedMediaType(ThalwegError):
    """No reader for this content type or encoding."""

    code = "unsupported_media_type"
    title = "Unsupported media type"


class TooLarge(ThalwegError):
    """The body is past `THALWEG_MAX_REQUEST_BYTES`."""

    code = "body_too_large"
    title = "Body too large"


class NotAcceptable(ThalwegError):
    """No representation that the client accepts."""

    code = "not_acceptable"
    title = "Not acceptable"


class Unauthorized(ThalwegError):
    """No key came with the request, or none that holds."""

    code = "unauthorized"
    title = "Unauthorized"


class Forbidden(ThalwegError):
    """The key does not have the scope that this needs."""

    code = "forbidden"
    title = "Forbidden"


class RateLimited(ThalwegError):
    """The owner asks more often than they may."""

    code = "rate_limited"
    title = "Too many requests"
    retry_after_seconds = 1


class QuotaExceeded(RateLimited):
    """The owner has as much of something as they may."""

    code = "quota_exceeded"
    title = "Quota exceeded"
    retry_after_seconds = 5

    def __init__(
        self,
        detail: str,
        quota: Quota,
        *,
        places: Sequence[Place] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail, places=places, retry_after_seconds=retry_after_seconds)
        self.quota = quota


class NotFound(ThalwegError):
    """No such thing, or none that the caller may see."""

    code = "not_found"
    title = "Not found"


class PlotNotApplicable(NotFound):
    """The fit has no plot of this kind."""

    code = "plot_not_applicable"
    title = "Plot not applicable"


class Gone(ThalwegError):
    """It was here, and has been deleted or has expired."""

    code = "gone"
    title = "Gone"


class Conflict(ThalwegError):
    """The thing is in a state that does not allow this."""

    code = "conflict"
    title = "Conflict"


class KeyInFlight(Conflict):
    """The first request with this Idempotency-Key has not been answered yet."""

    code = "idempotency_key_in_flight"
    title = "Idempotency key in flight"
    retry_after_seconds = 1


class QueueFull(ThalwegError):
    """`THALWEG_MAX_QUEUED_FITS` fits wait already."""

    code = "queue_full"
    title = "Queue full"
    retry_after_seconds = 5


class Unavailable(ThalwegError):
    """A part of the service does not answer; the same call may work later."""

    code = "unavailable"
    title = "Service unavailable"
    retry_after_seconds = 5


class TooManyStreams(Unavailable):
    """This process has as many event streams open as it has room for."""

    code = "too_many_streams"
    title = "Too many streams"


class WorkersBusy(Unavailable):
    """As many requests of this process wait for a worker's answer as it has room for."""

    code = "workers_busy"
    title = "Workers busy"


class Damaged(ThalwegError):
    """An object of the store is not as it was written: its disk lost a part of it."""

    code = "damaged_object"
    title = "Damaged object"


class WorkerFailed(ThalwegError):
    """A worker crashed at what a request asked for; its log says why."""

    code = "worker_failed"
    title = "Worker failed"


class DemoFailed(ThalwegError):
    """The demo's service refused a step of it."""

    code = "demo_failed"
    title = "Demo failed"


class StartFailed(ThalwegError):
    """The launcher cannot start a part of the service."""

    code = "start_failed"
    title = "Start failed"

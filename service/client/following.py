"""A job from where it is to its end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from service.client.bars import Bar, FitsBar, StepsBar
from service.client.errors import Interrupted, Unreachable
from service.client.exits import OF_STATUS
from service.client.http import Service
from service.client.streams import events

# The service has a limit on streams, but none on looking a job up.
_NO_STREAM = "too_many_streams"


def follow(service: Service, path: str, job: Mapping[str, Any], *, silent: bool) -> dict[str, Any]:
    """The job after its end, its progress on stderr unless `silent`."""
    with _going_on(job["id"]):
        if silent:
            return _ended(service, path, job)
        kind = FitsBar if job["object"] == "batch" else StepsBar
        with kind(Console(stderr=True), job) as bar:
            if job["status"] not in OF_STATUS:
                _stream(service, path, bar)
            return _ended(service, path, job, bar)


def _stream(service: Service, path: str, bar: Bar) -> None:
    def has_ended() -> bool:
        return service.get(path)["status"] in OF_STATUS

    try:
        for kind, data in events(service, f"{path}/events", has_ended):
            bar.show_event(kind, data)
    except Unreachable as error:
        if error.code != _NO_STREAM:
            raise


def _ended(
    service: Service, path: str, job: Mapping[str, Any], bar: Bar | None = None
) -> dict[str, Any]:
    found = dict(job)
    while found["status"] not in OF_STATUS:
        found = service.wait(path)
        if bar is not None:
            bar.show_job(found)
    return found


@contextmanager
def _going_on(job_id: str) -> Iterator[None]:
    """Tell whoever stops looking, or has to, that the job goes on."""
    hint = (
        f"{job_id} goes on: `thalweg watch {job_id}` follows it, `thalweg cancel {job_id}` ends it"
    )
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(hint) from None
    except Unreachable as error:
        raise Unreachable(*error.lines, hint, code=error.code) from error

"""What the views of fits, and of other jobs with their life, have in common."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flask import Response, request

from service import fits, lifecycle, submission
from service.api.lists import list_response
from service.api.queries import FitListParameters, list_query
from service.api.requests import context, owner
from service.api.responses import json_response, resource
from service.api.waiting import draining, preferred_wait_seconds
from service.errors import InvalidInput, Place
from service.kinds import Kind
from service.schemas.common import TERMINAL
from service.schemas.fits import FitRequest
from service.schemas.lists import Page
from service.schemas.lr_range import LrRangeRequest
from service.waiting import wait_until_ended

_LOOK_AGAIN_SECONDS = 1
# As many as a request line has room for, commas written as %2C.
_MOST_IDS = 200
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True)
class Jobs:
    """The jobs of one kind; `with_links` adds the URLs that an answer has."""

    kind: Kind
    with_links: Callable[[dict[str, Any]], dict[str, Any]]

    def submitted(self, given: FitRequest | LrRangeRequest) -> Response:
        """Queue a job: 200 where it has ended within the time that the request waits, else 202."""
        job = submission.submit(context(), given, owner=owner(), traceparent=_traceparent())
        headers = _wait(job["id"])
        if headers:
            job = self._found(job["id"])
        ended = job["status"] in TERMINAL
        if not ended:
            headers["Retry-After"] = str(_LOOK_AGAIN_SECONDS)
        body = self.with_links(job)
        headers["Location"] = body["urls"]["self"]
        return json_response(body, 200 if ended else 202, headers)

    def listed(self, asked: FitListParameters) -> Response:
        """A page, or the jobs of the ids asked for."""
        if asked.ids is None:
            page = fits.list_fits(context(), list_query(asked), owner(), self.kind)
        else:
            page = Page(fits.get_fits(context(), _ids(asked.ids), owner(), self.kind), None)
        return list_response(replace(page, data=[self.with_links(job) for job in page.data]))

    def shown(self, job_id: str) -> Response:
        """One job, after its end where the request waits for that."""
        job = self._found(job_id)
        headers = {} if job["status"] in TERMINAL else _wait(job_id)
        if headers:
            job = self._found(job_id)
        return resource(self.with_links(job), headers)

    def cancelled(self, job_id: str) -> Response:
        """End one job."""
        return json_response(
            self.with_links(lifecycle.cancel(context(), job_id, owner(), self.kind)), 202
        )

    def deleted(self, job_id: str) -> Response:
        """Forget one ended job."""
        fits.delete_fit(context(), job_id, owner(), self.kind)
        return Response(status=204)

    def _found(self, job_id: str) -> dict[str, Any]:
        return fits.get_fit(context(), job_id, owner(), self.kind)


def _traceparent() -> str | None:
    """The caller's trace (W3C), for the worker's log; None where it is none."""
    given = request.headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) else None


def _wait(job_id: str) -> dict[str, str]:
    """Hold the answer as the request prefers; the header that says so."""
    seconds = preferred_wait_seconds()
    if seconds is None:
        return {}
    wait_until_ended(context(), job_id, seconds, draining)
    return {"Preference-Applied": f"wait={seconds}"}


def _ids(listed: str) -> list[str]:
    ids = listed.split(",")
    if len(ids) > _MOST_IDS:
        detail = f"ids: at most {_MOST_IDS} at once"
        raise InvalidInput(detail, places=[Place("too_many_ids", detail)])
    return ids

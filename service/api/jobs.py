"""What the views of fits, and of other jobs with their life, have in common."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flask import Response

from service import fits, lifecycle, submission
from service.api.awaited import Awaited, told
from service.api.lists import list_response
from service.api.queries import FitListParameters, list_query
from service.api.requests import context, owner
from service.api.responses import json_response, no_content
from service.errors import InvalidInput, Place
from service.following import events_so_far, follow
from service.idempotency import Ticket
from service.kinds import Kind
from service.schemas.fits import FitRequest
from service.schemas.lists import Page
from service.schemas.lr_range import LrRangeRequest
from service.waiting import has_ended

# As many as a request line has room for, commas written as %2C.
_MOST_IDS = 200


@dataclass(frozen=True)
class Jobs:
    """The jobs of one kind; `with_links` adds the URLs that an answer has."""

    kind: Kind
    with_links: Callable[[dict[str, Any]], dict[str, Any]]

    def submitted(self, given: FitRequest | LrRangeRequest) -> Response:
        """Queue a job: 200 where it has ended within the time that the request waits, else 202."""

        def submit(ticket: Ticket | None) -> dict[str, Any]:
            return submission.submit(context(), given, owner=owner(), ticket=ticket)

        return self._awaited().submitted(submit)

    def listed(self, asked: FitListParameters) -> Response:
        """A page, or the jobs of the ids asked for."""
        if asked.ids is None:
            page = fits.list_fits(context(), list_query(asked), owner(), self.kind)
        else:
            page = Page(fits.get_fits(context(), _ids(asked.ids), owner(), self.kind), None)
        return list_response(replace(page, data=[self.with_links(job) for job in page.data]))

    def shown(self, job_id: str) -> Response:
        """One job, after its end where the request waits for that."""
        return self._awaited().shown(job_id)

    def events(self, job_id: str) -> Response:
        """What happens to one job, as it happens; as JSON what has happened so far."""
        return told(
            partial(fits.find_row, context(), job_id, owner(), self.kind),
            partial(events_so_far, context(), job_id),
            partial(follow, context(), job_id),
        )

    def cancelled(self, job_id: str) -> Response:
        """End one job."""
        return json_response(
            self.with_links(lifecycle.cancel(context(), job_id, owner(), self.kind)), 202
        )

    def deleted(self, job_id: str) -> Response:
        """Forget one ended job."""
        fits.delete_fit(context(), job_id, owner(), self.kind)
        return no_content()

    def _awaited(self) -> Awaited:
        return Awaited(self._found, self.with_links, has_ended)

    def _found(self, job_id: str) -> dict[str, Any]:
        return fits.get_fit(context(), job_id, owner(), self.kind)


def _ids(listed: str) -> list[str]:
    ids = listed.split(",")
    if len(ids) > _MOST_IDS:
        detail = f"ids: at most {_MOST_IDS} at once"
        raise InvalidInput(detail, places=[Place("too_many_ids", detail)])
    return ids

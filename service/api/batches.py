"""`/v1/batches`."""

from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from service import batches
from service.api.answer_headers import DOWNLOAD, RESOURCE
from service.api.awaited import Awaited, events_operation, told
from service.api.bodies import Body
from service.api.examples import BATCH, BATCH_LINES, RESULTS_CSV
from service.api.links import with_batch_links, with_links
from service.api.lists import list_response
from service.api.openapi import BINARY, Content, Operation, operation
from service.api.queries import (
    BatchParameters,
    StatePageParameters,
    list_query,
    parameters,
)
from service.api.requests import context, json_body, owner, refuse_other_types
from service.api.responses import download, json_response, no_content
from service.api.validation import parse_object
from service.batch_following import batch_events_so_far, follow_batch
from service.batch_results import read_results
from service.batch_submission import About, submit_batch
from service.idempotency import Ticket
from service.schemas.answers.batches import Batch, BatchList, BatchResult
from service.schemas.answers.fits import FitList
from service.schemas.batches import BatchRequest
from service.schemas.fits import FitRequest
from service.schemas.lists import Page
from service.sweeps import Bodies, bodies_of, read_lines

blueprint = Blueprint("batches", __name__, url_prefix="/v1/batches")

_JSON = "application/json"
_NDJSON = "application/x-ndjson"
_RESULTS = {
    "ndjson": _NDJSON,
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


def _found(batch_id: str) -> dict[str, Any]:
    return batches.get_batch(context(), batch_id, owner())


_BATCHES = Awaited(_found, with_batch_links, batches.has_ended)


@blueprint.post("")
@operation(
    Operation(
        "createBatch",
        "batches",
        "Queue up to 10,000 fits; with `Prefer: wait=N` wait for the end of all",
        body=(Content(_JSON, BatchRequest, BATCH), Content(_NDJSON, example=BATCH_LINES)),
        query=BatchParameters,
        answers={200: (Content(model=Batch),), 202: (Content(model=Batch),)},
        headers={
            200: ("Location", "Preference-Applied"),
            202: ("Location", "Retry-After", "Preference-Applied"),
        },
        problems=(400, 404, 410, 413, 415, 422, 503),
        prefers_wait=True,
        creates=True,
    )
)
def create_batch() -> Response:
    """Queue many fits."""
    bodies, about = _asked()

    def submit(ticket: Ticket | None) -> dict[str, Any]:
        return submit_batch(
            context(),
            bodies,
            about,
            owner=owner(),
            parse=partial(parse_object, FitRequest),
            ticket=ticket,
        )

    return _BATCHES.submitted(submit)


def _asked() -> tuple[Bodies, About]:
    """The fits' bodies, and what the batch carries: of lines, in the query."""
    refuse_other_types(_JSON, _NDJSON)
    asked = parameters(BatchParameters)
    if request.mimetype == _NDJSON:
        lines = read_lines(Body(context().settings.max_json_bytes).read_all())
        return lines, About(asked.name, select=asked.select)
    given = json_body(BatchRequest)
    name = given.name or asked.name
    chosen = given.select if "select" in given.model_fields_set else asked.select
    return bodies_of(given), About(name, given.tags, given.metadata, chosen)


@blueprint.get("")
@operation(
    Operation(
        "listBatches",
        "batches",
        "List batches, newest first",
        query=StatePageParameters,
        answers={200: (Content(model=BatchList),), 304: ()},
        headers={200: (*RESOURCE, "Link")},
        problems=(422,),
    )
)
def list_batches() -> Response:
    """A page of batches."""
    page = batches.list_batches(context(), list_query(parameters(StatePageParameters)), owner())
    return list_response(_linked(page, with_batch_links))


@blueprint.get("/<batch_id>")
@operation(
    Operation(
        "getBatch",
        "batches",
        "Look a batch up; with `Prefer: wait=N` wait for the end of all its fits",
        answers={200: (Content(model=Batch),), 304: ()},
        headers={200: (*RESOURCE, "Preference-Applied")},
        problems=(404, 410, 422),
        prefers_wait=True,
    )
)
def get_batch(batch_id: str) -> Response:
    """One batch."""
    return _BATCHES.shown(batch_id)


@blueprint.get("/<batch_id>/fits")
@operation(
    Operation(
        "listBatchFits",
        "batches",
        "List a batch's fits, newest first",
        query=StatePageParameters,
        answers={200: (Content(model=FitList),), 304: ()},
        headers={200: (*RESOURCE, "Link")},
        problems=(404, 410, 422),
    )
)
def list_batch_fits(batch_id: str) -> Response:
    """A page of one batch's fits."""
    query = list_query(parameters(StatePageParameters))
    return list_response(
        _linked(batches.list_fits_of(context(), batch_id, query, owner()), with_links)
    )


@blueprint.get("/<batch_id>/results.<any(ndjson,csv,parquet):form>")
@operation(
    Operation(
        "getBatchResults",
        "batches",
        "A line a fit, in the order in which they were posted: what varied, and what came out",
        answers={
            200: (
                Content(_NDJSON, BatchResult),
                Content("text/csv", example=RESULTS_CSV),
                Content("application/vnd.apache.parquet", schema=BINARY),
            )
        },
        headers={200: DOWNLOAD},
        problems=(404, 410, 422),
        path_values={"form": tuple(_RESULTS)},
    )
)
def get_batch_results(batch_id: str, form: str) -> Response:
    """The results in one format, as far as they have come."""
    pieces = read_results(context(), batch_id, form, owner())
    return download(pieces, _RESULTS[form], f"{batch_id}.{form}")


@blueprint.get("/<batch_id>/events")
@operation(events_operation("getBatchEvents", "batches", "batch"))
def get_batch_events(batch_id: str) -> Response:
    """How one batch's counts change."""
    return told(
        partial(batches.find_row, context(), batch_id, owner()),
        partial(batch_events_so_far, context(), batch_id, owner()),
        partial(follow_batch, context(), batch_id, owner()),
    )


@blueprint.post("/<batch_id>/cancel")
@operation(
    Operation(
        "cancelBatch",
        "batches",
        "End every fit of a batch that has not ended; what running ones have so far is kept",
        answers={202: (Content(model=Batch),)},
        problems=(404, 409, 410, 422),
    )
)
def cancel_batch(batch_id: str) -> Response:
    """Cancel one batch."""
    return json_response(with_batch_links(batches.cancel_batch(context(), batch_id, owner())), 202)


@blueprint.delete("/<batch_id>")
@operation(
    Operation(
        "deleteBatch",
        "batches",
        "Forget an ended batch with its fits",
        answers={204: ()},
        problems=(404, 409, 410, 422),
    )
)
def delete_batch(batch_id: str) -> Response:
    """Forget one batch."""
    batches.delete_batch(context(), batch_id, owner())
    return no_content()


def _linked(page: Page, link: Any) -> Page:
    return Page([link(one) for one in page.data], page.next_cursor)

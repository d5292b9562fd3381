"""`/v1/datasets`."""

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response

from service import datasets
from service.api.answer_headers import RESOURCE, STREAMED
from service.api.examples import CSV_UPLOAD, DATASET_COLUMNS
from service.api.idempotency import once
from service.api.links import dataset_url
from service.api.lists import list_response
from service.api.openapi import Content, Operation, operation
from service.api.queries import ListParameters, UploadParameters, list_query, parameters
from service.api.requests import context, owner, preferred
from service.api.responses import json_response, no_content, resource, streamed
from service.api.uploads import UPLOADS, downloads, model_or_table
from service.datasets import About
from service.idempotency import Ticket
from service.media_types import JSON, MEDIA_TYPES
from service.schemas.answers.datasets import Dataset, DatasetContent, DatasetList
from service.schemas.datasets import DatasetRequest
from service.tables.pieces import Piece
from service.tables.writers import WRITERS

blueprint = Blueprint("datasets", __name__, url_prefix="/v1/datasets")


@blueprint.post("")
@operation(
    Operation(
        "createDataset",
        "datasets",
        "Upload a table, or have one drawn",
        body=(Content(JSON, DatasetRequest, DATASET_COLUMNS), *UPLOADS),
        query=UploadParameters,
        answers={201: (Content(model=Dataset),)},
        headers={201: ("Location",)},
        problems=(400, 413, 415, 422),
        creates=True,
    )
)
def create_dataset() -> Response:
    """Keep a table."""
    asked = parameters(UploadParameters)
    with model_or_table(DatasetRequest, asked) as given:

        def keep(ticket: Ticket | None) -> tuple[str, Response]:
            dataset = _create(given, asked, ticket)
            return dataset["id"], _created(dataset)

        return once(keep, again=_created_before)


def _create(
    given: DatasetRequest | Iterator[Piece], asked: UploadParameters, ticket: Ticket | None
) -> dict[str, Any]:
    if not isinstance(given, DatasetRequest):
        about = About(owner(), asked.name)
        return datasets.create_dataset(context(), given, about, asked.missing, ticket)
    named = given if given.name else given.model_copy(update={"name": asked.name})
    return datasets.create_inline_dataset(context(), named, owner(), asked.missing, ticket)


def _created(dataset: dict[str, Any]) -> Response:
    return json_response(dataset, 201, {"Location": dataset_url(dataset)})


def _created_before(dataset_id: str) -> Response:
    return _created(datasets.get_dataset(context(), dataset_id, owner()))


@blueprint.get("")
@operation(
    Operation(
        "listDatasets",
        "datasets",
        "List datasets, newest first",
        query=ListParameters,
        answers={200: (Content(model=DatasetList),), 304: ()},
        headers={200: (*RESOURCE, "Link")},
        problems=(422,),
    )
)
def list_datasets() -> Response:
    """A page of datasets."""
    query = list_query(parameters(ListParameters))
    return list_response(datasets.list_datasets(context(), query, owner()))


@blueprint.get("/<dataset_id>")
@operation(
    Operation(
        "getDataset",
        "datasets",
        "Look a dataset up",
        answers={200: (Content(model=Dataset),), 304: ()},
        headers={200: RESOURCE},
        problems=(404, 410, 422),
    )
)
def get_dataset(dataset_id: str) -> Response:
    """One dataset."""
    return resource(datasets.get_dataset(context(), dataset_id, owner()))


@blueprint.get("/<dataset_id>/content")
@operation(
    Operation(
        "getDatasetContent",
        "datasets",
        "The whole table, in the form that `Accept` names: CSV, JSON, Parquet or Arrow",
        answers={
            200: downloads(WRITERS, DatasetContent, CSV_UPLOAD),
            304: (),
        },
        headers={200: STREAMED},
        problems=(404, 406, 410, 422),
    )
)
def get_content(dataset_id: str) -> Response:
    """One dataset's table."""
    dataset = datasets.find_row(context(), dataset_id, owner())
    media_type = preferred(*WRITERS)
    pieces = datasets.read_content(context(), dataset, media_type)
    suffix = next(end for end, name in MEDIA_TYPES.items() if name == media_type)
    tag = f"{dataset['digest']}{suffix}"
    return streamed(pieces, media_type, f"{dataset_id}{suffix}", tag)


@blueprint.delete("/<dataset_id>")
@operation(
    Operation(
        "deleteDataset",
        "datasets",
        "Forget a dataset that no queued or running fit needs",
        answers={204: ()},
        problems=(404, 409, 410, 422),
    )
)
def delete_dataset(dataset_id: str) -> Response:
    """Forget one dataset."""
    datasets.delete_dataset(context(), dataset_id, owner())
    return no_content()

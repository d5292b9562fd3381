"""`/v1/datasets`."""

from typing import Any

from flask import Blueprint, Response, request

from service import datasets
from service.api.examples import CSV_UPLOAD, DATASET_COLUMNS
from service.api.links import dataset_url
from service.api.lists import list_response
from service.api.openapi import Content, Operation, operation
from service.api.queries import ListParameters, UploadParameters, list_query, parameters
from service.api.requests import context, json_body, owner, refuse_other_types
from service.api.responses import json_response, resource
from service.schemas.answers import Dataset, DatasetList
from service.schemas.datasets import DatasetColumns
from service.tables import from_columns, read_csv

blueprint = Blueprint("datasets", __name__, url_prefix="/v1/datasets")


@blueprint.post("")
@operation(
    Operation(
        "createDataset",
        "datasets",
        "Upload a table",
        body=(
            Content("application/json", DatasetColumns, DATASET_COLUMNS),
            Content("text/csv", example=CSV_UPLOAD),
        ),
        query=UploadParameters,
        answers={201: (Content(model=Dataset),)},
        headers={201: ("Location",)},
        problems=(400, 413, 415, 422),
    )
)
def create_dataset() -> Response:
    """Keep a table."""
    dataset = _READERS[_media_type()]()
    return json_response(dataset, 201, {"Location": dataset_url(dataset)})


def _media_type() -> str:
    refuse_other_types(*_READERS)
    return request.mimetype


def _from_json() -> dict[str, Any]:
    given = json_body(DatasetColumns)
    asked = parameters(UploadParameters)
    table = from_columns(given.columns, most_rows=context().settings.max_inline_rows)
    return datasets.create_dataset(
        context(),
        table,
        owner=owner(),
        name=given.name or asked.name,
        tags=given.tags,
        metadata=given.metadata,
    )


def _from_csv() -> dict[str, Any]:
    asked = parameters(UploadParameters)
    source = request.get_data(cache=False)
    table = read_csv(source, delimiter=asked.delimiter, header=asked.header)
    return datasets.create_dataset(context(), table, owner=owner(), name=asked.name)


_READERS = {"application/json": _from_json, "text/csv": _from_csv}


@blueprint.get("")
@operation(
    Operation(
        "listDatasets",
        "datasets",
        "List datasets, newest first",
        query=ListParameters,
        answers={200: (Content(model=DatasetList),)},
        headers={200: ("Link",)},
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
        headers={200: ("ETag",)},
        problems=(404, 410, 422),
    )
)
def get_dataset(dataset_id: str) -> Response:
    """One dataset."""
    return resource(datasets.get_dataset(context(), dataset_id, owner()))


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
    return Response(status=204)

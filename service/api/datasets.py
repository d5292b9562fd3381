"""`/v1/datasets`."""

from typing import Any

from flask import Blueprint, Response, request

from service import datasets
from service.api.bodies import MULTIPART, Upload, receive
from service.api.examples import CSV_UPLOAD, DATASET_COLUMNS, NDJSON_UPLOAD
from service.api.links import dataset_url
from service.api.lists import list_response
from service.api.openapi import BINARY, FILE_PART, Content, Operation, operation
from service.api.queries import ListParameters, UploadParameters, list_query, parameters
from service.api.requests import context, json_body, owner, refuse_other_types
from service.api.responses import json_response, resource, streamed
from service.api.validation import parse_json
from service.datasets import About
from service.errors import NotAcceptable, TooLarge
from service.schemas.answers import Dataset, DatasetContent, DatasetList
from service.schemas.datasets import DatasetRequest
from service.tables.pieces import ReadOptions
from service.tables.reading import READERS, read_pieces
from service.tables.writers import WRITERS

blueprint = Blueprint("datasets", __name__, url_prefix="/v1/datasets")

_JSON = "application/json"
_SUFFIXES = {
    ".csv": "text/csv",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.file",
    ".feather": "application/vnd.apache.arrow.file",
    ".arrows": "application/vnd.apache.arrow.stream",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".json": _JSON,
}
_TEXTS = {"text/csv": CSV_UPLOAD, "application/x-ndjson": NDJSON_UPLOAD}


def _uploadable(media_type: str) -> Content:
    if media_type in _TEXTS:
        return Content(media_type, example=_TEXTS[media_type])
    return Content(media_type, schema=BINARY)


@blueprint.post("")
@operation(
    Operation(
        "createDataset",
        "datasets",
        "Upload a table, or have one drawn",
        body=(
            Content(_JSON, DatasetRequest, DATASET_COLUMNS),
            *map(_uploadable, READERS),
            Content(MULTIPART, schema=FILE_PART),
        ),
        query=UploadParameters,
        answers={201: (Content(model=Dataset),)},
        headers={201: ("Location",)},
        problems=(400, 413, 415, 422),
    )
)
def create_dataset() -> Response:
    """Keep a table."""
    refuse_other_types(_JSON, *READERS, MULTIPART)
    asked = parameters(UploadParameters)
    if request.mimetype == _JSON:
        dataset = _create_inline(json_body(DatasetRequest), asked)
    else:
        dataset = _create_uploaded(asked)
    return json_response(dataset, 201, {"Location": dataset_url(dataset)})


def _create_inline(given: DatasetRequest, asked: UploadParameters) -> dict[str, Any]:
    named = given if given.name else given.model_copy(update={"name": asked.name})
    return datasets.create_inline_dataset(context(), named, owner(), asked.missing)


def _create_uploaded(asked: UploadParameters) -> dict[str, Any]:
    most_bytes = context().settings.max_request_bytes
    with context().storage.scratch() as directory:
        upload = receive(directory, most_bytes, _SUFFIXES)
        if upload.media_type == _JSON:
            return _create_inline(parse_json(DatasetRequest, _small(upload)), asked)
        options = ReadOptions(asked.delimiter, asked.header, most_bytes)
        pieces = read_pieces(upload.path, upload.media_type, options)
        about = About(owner(), asked.name)
        return datasets.create_dataset(context(), pieces, about, asked.missing)


def _small(upload: Upload) -> bytes:
    most_bytes = context().settings.max_json_bytes
    if upload.path.stat().st_size > most_bytes:
        raise TooLarge(f"the JSON is past {most_bytes} bytes (THALWEG_MAX_JSON_BYTES)")
    return upload.path.read_bytes()


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


@blueprint.get("/<dataset_id>/content")
@operation(
    Operation(
        "getDatasetContent",
        "datasets",
        "The whole table, in the form that `Accept` names: CSV, JSON, Parquet or Arrow",
        answers={
            200: tuple(
                Content(name, DatasetContent) if name == _JSON else Content(name, schema=BINARY)
                for name in WRITERS
            ),
            304: (),
        },
        headers={200: ("ETag",)},
        problems=(404, 406, 410, 422),
    )
)
def get_content(dataset_id: str) -> Response:
    """One dataset's table."""
    dataset = datasets.find_row(context(), dataset_id, owner())
    media_type = _accepted()
    pieces = datasets.read_content(context(), dataset, media_type)
    suffix = next(end for end, name in _SUFFIXES.items() if name == media_type)
    tag = f"{dataset['digest']}{suffix}"
    return streamed(pieces, media_type, f"{dataset_id}{suffix}", tag)


def _accepted() -> str:
    """The form that the client likes best; the first one where it does not care."""
    if not request.accept_mimetypes:
        return next(iter(WRITERS))
    best = request.accept_mimetypes.best_match(WRITERS)
    if best is None:
        raise NotAcceptable(f"the table comes as {', '.join(WRITERS)}")
    return best


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

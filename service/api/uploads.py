"""Tables on the wire: the types that are taken and given, and how one is read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from flask import request
from pydantic import BaseModel

from service.api.bodies import MULTIPART, Upload, receive
from service.api.examples import CSV_UPLOAD, NDJSON_UPLOAD
from service.api.openapi import BINARY, FILE_PART, Content
from service.api.queries import ReadParameters
from service.api.requests import context, json_body, refuse_other_types
from service.api.validation import parse_json
from service.errors import TooLarge
from service.media_types import JSON, MEDIA_TYPES
from service.tables.pieces import Piece, ReadOptions
from service.tables.reading import READERS, read_pieces

Model = TypeVar("Model", bound=BaseModel)

_TEXTS = {"text/csv": CSV_UPLOAD, "application/x-ndjson": NDJSON_UPLOAD}


def _uploadable(media_type: str) -> Content:
    if media_type in _TEXTS:
        return Content(media_type, example=_TEXTS[media_type])
    return Content(media_type, schema=BINARY)


# What a body may be beside JSON, for the OpenAPI document.
UPLOADS = (*map(_uploadable, READERS), Content(MULTIPART, schema=FILE_PART))


def downloads(
    media_types: Iterable[str], model: type[BaseModel], csv_example: str
) -> tuple[Content, ...]:
    """What an answer may be, for the OpenAPI document: the model where it is JSON."""
    special = {
        JSON: Content(JSON, model),
        "text/csv": Content("text/csv", example=csv_example, schema=BINARY),
    }
    return tuple(special.get(name, Content(name, schema=BINARY)) for name in media_types)


@contextmanager
def model_or_table(model: type[Model], asked: ReadParameters) -> Iterator[Model | Iterator[Piece]]:
    """The JSON body as the model, or an uploaded table's pieces, to be read within the block.

    JSON may come as the `file` part of a multipart body too. Raises UnsupportedMediaType, and
    what is wrong with the body.
    """
    refuse_other_types(JSON, *READERS, MULTIPART)
    if request.mimetype == JSON:
        yield json_body(model)
        return
    most_bytes = context().settings.max_request_bytes
    with context().storage.scratch() as directory:
        upload = receive(directory, most_bytes, MEDIA_TYPES)
        if upload.media_type == JSON:
            yield parse_json(model, _small(upload))
            return
        options = ReadOptions(asked.delimiter, asked.header, most_bytes)
        yield read_pieces(upload.path, upload.media_type, options)


def _small(upload: Upload) -> bytes:
    most_bytes = context().settings.max_json_bytes
    if upload.path.stat().st_size > most_bytes:
        raise TooLarge(f"the JSON is past {most_bytes} bytes (THALWEG_MAX_JSON_BYTES)")
    return upload.path.read_bytes()

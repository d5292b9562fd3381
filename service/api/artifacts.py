"""`/v1/fits/{id}/history.*` and `weights.*`: a fit's arrays in the reader's format."""

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import safetensors.numpy
from flask import Blueprint, Response

from service.api.openapi import Content, Operation, operation
from service.api.requests import context, owner
from service.api.responses import artifact
from service.artifacts import Arrays, read_artifact
from service.schemas.answers import History, Weights

blueprint = Blueprint("artifacts", __name__, url_prefix="/v1/fits/<fit_id>")

_STEP_COLUMNS = ("step", "epoch", "loss", "lr", "grad_norm")
_BINARY = "application/octet-stream"


def weights_json(arrays: Arrays) -> bytes:
    """Nested lists by name, every digit kept."""
    return orjson.dumps({name: array.tolist() for name, array in arrays.items()})


def weights_npz(arrays: Arrays) -> bytes:
    """A NumPy archive, uncompressed."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def history_json(arrays: Arrays) -> bytes:
    """The step columns, and the epoch columns below `epochs`; null where nothing finite is."""
    body: dict[str, Any] = {name: arrays[name].tolist() for name in _STEP_COLUMNS}
    prefix = "epochs."
    body["epochs"] = {
        name.removeprefix(prefix): array.tolist()
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    return orjson.dumps(body)


def history_csv(arrays: Arrays) -> bytes:
    """The step columns with a header row, every digit kept."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_STEP_COLUMNS)
    writer.writerows(zip(*(arrays[name].tolist() for name in _STEP_COLUMNS), strict=True))
    return text.getvalue().encode()


# One entry a format: its media type and writer.
WEIGHTS: dict[str, tuple[str, Callable[[Arrays], bytes]]] = {
    "json": ("application/json", weights_json),
    "safetensors": (_BINARY, safetensors.numpy.save),
    "npz": (_BINARY, weights_npz),
}
HISTORY: dict[str, tuple[str, Callable[[Arrays], bytes]]] = {
    "json": ("application/json", history_json),
    "csv": ("text/csv; charset=utf-8", history_csv),
}


@blueprint.get("/weights.<any(json,safetensors,npz):form>")
@operation(
    Operation(
        "getWeights",
        "artifacts",
        "The fitted weights",
        answers={200: (Content(model=Weights), Content(_BINARY)), 206: (), 304: ()},
        headers={200: ("ETag",)},
        problems=(404, 410, 416, 422),
        path_values={"form": tuple(WEIGHTS)},
    )
)
def get_weights(fit_id: str, form: str) -> Response:
    """The weights in one format."""
    return _send(fit_id, "weights", form, *WEIGHTS[form])


@blueprint.get("/history.<any(json,csv):form>")
@operation(
    Operation(
        "getHistory",
        "artifacts",
        "The whole loss history",
        answers={200: (Content(model=History), Content("text/csv")), 206: (), 304: ()},
        headers={200: ("ETag",)},
        problems=(404, 410, 416, 422),
        path_values={"form": tuple(HISTORY)},
    )
)
def get_history(fit_id: str, form: str) -> Response:
    """The history in one format."""
    return _send(fit_id, "history", form, *HISTORY[form])


def _send(
    fit_id: str, name: str, form: str, media_type: str, write: Callable[[Arrays], bytes]
) -> Response:
    content = write(read_artifact(context(), fit_id, name, owner()))
    return artifact(content, media_type, f"{fit_id}-{name}.{form}")

"""`/v1/fits/{id}/weights.*`, `history.*`, `trajectory.*`, `reproduce.py`: what a fit leaves."""

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet
import safetensors.numpy
from flask import Blueprint, Response

from service.api.answer_headers import ARTIFACT
from service.api.examples import HISTORY_CSV, SCRIPT
from service.api.openapi import BINARY, Content, Operation, operation
from service.api.requests import context, owner
from service.api.responses import artifact
from service.artifacts import Arrays
from service.exports import onnx_file, reproduction
from service.fits import read_artifact
from service.schemas.answers.artifacts import History, Trajectory, Weights

blueprint = Blueprint("artifacts", __name__, url_prefix="/v1/fits/<fit_id>")

_STEP_COLUMNS = ("step", "epoch", "loss", "lr", "grad_norm")
_BINARY = "application/octet-stream"
_SCRIPT = "text/x-python"


def weights_json(arrays: Arrays) -> bytes:
    """Nested lists by name, every digit kept."""
    return orjson.dumps({name: array.tolist() for name, array in arrays.items()})


def weights_npz(arrays: Arrays) -> bytes:
    """A NumPy archive, uncompressed."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def nested_json(arrays: Arrays, prefixes: tuple[str, ...]) -> bytes:
    """Lists by name, those of `prefix.name` below `prefix`; null for what is not finite.

    `not_finite` names the first such entry of each array; one that has no number at all is none.
    """
    body: dict[str, Any] = {}
    if places := _not_finite(arrays):
        body["not_finite"] = places
    for name, array in arrays.items():
        above = next((prefix for prefix in prefixes if name.startswith(f"{prefix}.")), None)
        place = body if above is None else body.setdefault(above, {})
        place[name if above is None else name.removeprefix(f"{above}.")] = array.tolist()
    return orjson.dumps(body)


def _not_finite(arrays: Arrays) -> dict[str, int]:
    finite = {name: np.isfinite(array) for name, array in arrays.items()}
    return {
        name: int(np.argwhere(~found)[0, 0])
        for name, found in finite.items()
        if not found.all() and not np.isnan(arrays[name]).all()
    }


def history_json(arrays: Arrays) -> bytes:
    """The step columns, and the epoch columns below `epochs`."""
    return nested_json(arrays, ("epochs",))


def trajectory_json(arrays: Arrays) -> bytes:
    """The steps, the weights by their names, and the gradients below `gradients`."""
    return nested_json(arrays, ("gradients",))


def history_csv(arrays: Arrays) -> bytes:
    """The step columns with a header row, every digit kept."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_STEP_COLUMNS)
    writer.writerows(zip(*(arrays[name].tolist() for name in _STEP_COLUMNS), strict=True))
    return text.getvalue().encode()


def history_parquet(arrays: Arrays) -> bytes:
    """The step columns."""
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({name: arrays[name] for name in _STEP_COLUMNS}), buffer)
    return buffer.getvalue()


# One entry a format: its media type and writer.
WEIGHTS: dict[str, tuple[str, Callable[[Arrays], bytes]]] = {
    "json": ("application/json", weights_json),
    "safetensors": (_BINARY, safetensors.numpy.save),
    "npz": (_BINARY, weights_npz),
}
HISTORY: dict[str, tuple[str, Callable[[Arrays], bytes]]] = {
    "json": ("application/json", history_json),
    "csv": ("text/csv; charset=utf-8", history_csv),
    "parquet": ("application/vnd.apache.parquet", history_parquet),
}
TRAJECTORY: dict[str, tuple[str, Callable[[Arrays], bytes]]] = {
    "json": ("application/json", trajectory_json),
    "npz": (_BINARY, weights_npz),
}


@blueprint.get("/weights.<any(json,safetensors,npz,onnx):form>")
@operation(
    Operation(
        "getWeights",
        "artifacts",
        "The fitted weights",
        answers={200: (Content(model=Weights), Content(_BINARY, schema=BINARY)), 206: (), 304: ()},
        headers={200: ARTIFACT},
        problems=(404, 410, 416, 422),
        path_values={"form": (*WEIGHTS, "onnx")},
    )
)
def get_weights(fit_id: str, form: str) -> Response:
    """The weights in one format, or with all that makes predictions of them as ONNX."""
    if form == "onnx":
        content = onnx_file(context(), fit_id, owner())
        return artifact(content, _BINARY, f"{fit_id}.onnx")
    return _send(fit_id, "weights", form, *WEIGHTS[form])


@blueprint.get("/history.<any(json,csv,parquet):form>")
@operation(
    Operation(
        "getHistory",
        "artifacts",
        "The whole loss history",
        answers={
            200: (
                Content(model=History),
                Content("text/csv", example=HISTORY_CSV),
                Content("application/vnd.apache.parquet", schema=BINARY),
            ),
            206: (),
            304: (),
        },
        headers={200: ARTIFACT},
        problems=(404, 410, 416, 422),
        path_values={"form": tuple(HISTORY)},
    )
)
def get_history(fit_id: str, form: str) -> Response:
    """The history in one format."""
    return _send(fit_id, "history", form, *HISTORY[form])


@blueprint.get("/trajectory.<any(json,npz):form>")
@operation(
    Operation(
        "getTrajectory",
        "artifacts",
        "The weights, and gradients, at every recorded step",
        answers={
            200: (Content(model=Trajectory), Content(_BINARY, schema=BINARY)),
            206: (),
            304: (),
        },
        headers={200: ARTIFACT},
        problems=(404, 410, 416, 422),
        path_values={"form": tuple(TRAJECTORY)},
    )
)
def get_trajectory(fit_id: str, form: str) -> Response:
    """The trajectory in one format."""
    return _send(fit_id, "trajectory", form, *TRAJECTORY[form])


@blueprint.get("/reproduce.py")
@operation(
    Operation(
        "getReproduction",
        "artifacts",
        "A plain PyTorch script that makes the same weights of the dataset's CSV",
        answers={200: (Content(_SCRIPT, example=SCRIPT),), 206: (), 304: ()},
        headers={200: ARTIFACT},
        problems=(404, 410, 416, 422),
    )
)
def get_reproduction(fit_id: str) -> Response:
    """The script of one fit."""
    content = reproduction(context(), fit_id, owner()).encode()
    return artifact(content, f"{_SCRIPT}; charset=utf-8", "reproduce.py")


def _send(
    fit_id: str, name: str, form: str, media_type: str, write: Callable[[Arrays], bytes]
) -> Response:
    content = write(read_artifact(context(), fit_id, name, owner()))
    return artifact(content, media_type, f"{fit_id}-{name}.{form}")

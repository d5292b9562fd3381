"""A fit's arrays as safetensors: in a row when they compress well enough, else in the store."""

import hashlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from service.context import Context
from service.database import fits as queries
from service.errors import Damaged, NotFound
from service.named_arrays import Arrays, pack, unpack
from service.schemas.common import TERMINAL
from service.storage import discard

_TINY_BYTES = 2_048
_MOST_SHRUNK = 16
_LZ4 = pa.Codec("lz4")
# Of a safetensors file this would be the beginning of a header's length, of 400 MB at least.
_LZ4_MAGIC = bytes.fromhex("04224d18")
# Why a success may be without one.
_NOT_ASKED_FOR = {
    "trajectory": "its spec has neither record.weights nor record.gradients",
    "history": "its spec has record.final_weights_only",
}

__all__ = ["Arrays", "load_arrays", "load_artifact", "store_arrays", "store_artifact"]


def store_arrays(
    context: Context, fit_id: str, fence: int, name: str, arrays: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """Put the arrays where they belong; the row that names them, for `finish` to commit."""
    return store_artifact(context, fit_id, fence, name, pack(arrays))


def store_artifact(
    context: Context, fit_id: str, fence: int, name: str, content: bytes
) -> dict[str, Any]:
    """Put the bytes where they belong; the row that names them, to be committed."""
    row = {
        "fit_id": fit_id,
        "name": name,
        "digest": "sha256:" + hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "content": None,
        "storage_key": None,
    }
    packed = _compressed(content, context.settings.inline_artifact_bytes)
    if packed is not None:
        return row | {"content": packed}
    # The fence keeps a worker that came back from the dead off the object of the one after it.
    key = f"fits/{fit_id}/{fence}/{name}.safetensors"
    context.storage.put(key, content)
    return row | {"storage_key": key}


def forget_attempt(context: Context, fit_id: str, fence: int) -> None:
    """Drop what an attempt that lost its claim has put into the store."""
    discard(context.storage.delete_below, f"fits/{fit_id}/{fence}")


def _compressed(content: bytes, most_bytes: int) -> bytes | None:
    """What a row keeps of the bytes; None where that is too much.

    Histories are half of numbers that follow from each other, and a third as large then; what is
    tiny anyway is left as it is.
    """
    if len(content) <= min(_TINY_BYTES, most_bytes):
        return content
    if len(content) > _MOST_SHRUNK * most_bytes:
        return None
    packed: bytes = _LZ4.compress(content, asbytes=True)
    return packed if len(packed) <= most_bytes else None


def load_arrays(context: Context, fit_id: str, name: str) -> Arrays:
    """The arrays of a fit that the caller may see; raises NotFound."""
    return unpack(load_artifact(context, fit_id, name))


def load_artifact(context: Context, fit_id: str, name: str) -> bytes:
    """The artifact as a safetensors file, of a fit that the caller may see.

    Raises NotFound, and Damaged where not all of it is there.
    """
    with context.database.read() as connection:
        row = queries.find_artifact(connection, fit_id, name)
        status = None if row else queries.find_status(connection, fit_id)
    if row is None:
        raise NotFound(f"the fit {fit_id} has no {name}{_why(name, status)}")
    if row.content is None:
        return _whole(context, row)
    content: bytes = row.content
    if content.startswith(_LZ4_MAGIC):
        content = _LZ4.decompress(content, row.size_bytes, asbytes=True)
    return content


def _why(name: str, status: str | None) -> str:
    """Why a fit in that state has no such artifact, as the end of a sentence."""
    if status is None:
        return " any more: it has been deleted"
    if status not in TERMINAL:
        return f" yet: it is {status}"
    if status == "succeeded" and name in _NOT_ASKED_FOR:
        return f": {_NOT_ASKED_FOR[name]}"
    return f": it is {status}"


def _whole(context: Context, row: Any) -> bytes:
    content = context.storage.get(row.storage_key)
    if len(content) != row.size_bytes:
        raise Damaged(
            f"of the {row.size_bytes} bytes of {row.storage_key} the object store has "
            f"{len(content)}: restore it from a backup, or fit again"
        )
    return content

"""A fit's arrays: kept as safetensors, in a row when small, in the object store when large."""

import hashlib
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from service.context import Context
from service.database import fits as queries
from service.errors import NotFound
from service.named_arrays import Arrays, pack, unpack

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
        "content": content,
        "storage_key": None,
    }
    if len(content) <= context.settings.inline_artifact_bytes:
        return row
    # The fence keeps a worker that came back from the dead off the object of the one after it.
    key = f"fits/{fit_id}/{fence}/{name}.safetensors"
    context.storage.put(key, content)
    return row | {"content": None, "storage_key": key}


def load_arrays(context: Context, fit_id: str, name: str) -> Arrays:
    """The arrays of a fit that the caller may see; raises NotFound."""
    return unpack(load_artifact(context, fit_id, name))


def load_artifact(context: Context, fit_id: str, name: str) -> bytes:
    """The artifact as a safetensors file, of a fit that the caller may see; raises NotFound."""
    with context.database.read() as connection:
        row = queries.find_artifact(connection, fit_id, name)
    if row is None:
        raise NotFound(f"the fit {fit_id} has no {name} yet")
    content: bytes = (
        row.content if row.content is not None else context.storage.get(row.storage_key)
    )
    return content

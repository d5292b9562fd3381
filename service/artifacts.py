"""A fit's arrays: kept as safetensors, in the row when small, in the object store when large."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from service.context import Context
from service.database import fits as queries
from service.errors import NotFound
from service.lifecycle import Claim, get_fit

Arrays = dict[str, NDArray[Any]]


def store_artifact(
    context: Context, claim: Claim, name: str, arrays: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """Put the arrays where they belong; the row that names them, for `finish` to commit."""
    content = safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
    row = {
        "name": name,
        "digest": "sha256:" + hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "content": content,
        "storage_key": None,
    }
    if len(content) <= context.settings.inline_artifact_bytes:
        return row
    # The fence keeps a worker that came back from the dead off the object of the one after it.
    key = f"fits/{claim.fit_id}/{claim.fence}/{name}.safetensors"
    context.storage.put(key, content)
    return row | {"content": None, "storage_key": key}


def read_artifact(context: Context, fit_id: str, name: str, owner: str) -> Arrays:
    """The arrays of an ended fit; raises NotFound and Gone."""
    return safetensors.numpy.load(read_artifact_bytes(context, fit_id, name, owner))


def read_artifact_bytes(context: Context, fit_id: str, name: str, owner: str) -> bytes:
    """The artifact as a safetensors file; raises NotFound and Gone."""
    get_fit(context, fit_id, owner)
    return load_artifact(context, fit_id, name)


def load_artifact(context: Context, fit_id: str, name: str) -> bytes:
    """The artifact of a fit that the caller may see; raises NotFound."""
    with context.database.read() as connection:
        row = queries.find_artifact(connection, fit_id, name)
    if row is None:
        raise NotFound(f"the fit {fit_id} has no {name} yet")
    content: bytes = (
        row.content if row.content is not None else context.storage.get(row.storage_key)
    )
    return content

"""Named arrays ↔ the bytes of a safetensors file, with their order kept."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import safetensors.numpy
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_ORDER = "order"


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file's bytes: the same arrays in the same order give the same bytes."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(contiguous, {_ORDER: orjson.dumps(list(arrays)).decode()})


def unpack(content: bytes) -> Arrays:
    """The arrays of `pack`, in their order; the library itself gives them in any."""
    loaded = safetensors.numpy.load(content)
    return {name: loaded[name] for name in _order(content, loaded)}


def _order(content: bytes, loaded: Arrays) -> list[str]:
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = orjson.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
    order = header.get(_METADATA, {}).get(_ORDER)
    names: list[str] = sorted(loaded) if order is None else orjson.loads(order)
    return names

"""Named arrays ↔ the bytes of a safetensors file, with their order kept."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import orjson
import safetensors.numpy
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
# An array's name, dtype and shape.
_Place: TypeAlias = tuple[str, np.dtype[Any], tuple[int, ...]]

_LENGTH_BYTES = 8
# By numpy's letters.
_DTYPES = {
    "|b1": "BOOL", "|u1": "U8", "|i1": "I8", "<u2": "U16", "<i2": "I16", "<u4": "U32",
    "<i4": "I32", "<u8": "U64", "<i8": "I64", "<f2": "F16", "<f4": "F32", "<f8": "F64",
}  # fmt: skip
_METADATA = "__metadata__"
_ORDER = "order"


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The file's bytes: the same arrays in the same order give the same bytes.

    Written out, for every small fit is packed several times, and the library takes ten times as
    long. The widest numbers come first, so that each begins at a multiple of its size.
    """
    head, names = _head(tuple([(n, a.dtype, a.shape) for n, a in arrays.items()]))
    return b"".join([head, *[arrays[name].tobytes() for name in names]])


# Small fits are alike: most have one of the layouts that the last ones had.
@lru_cache(maxsize=64)
def _head(layout: tuple[_Place, ...]) -> tuple[bytes, list[str]]:
    """What stands before the arrays of such a layout, and their names as they follow there."""
    order = orjson.dumps([name for name, _, _ in layout]).decode()
    header: dict[str, Any] = {_METADATA: {_ORDER: order}}
    sorted_places = sorted(layout, key=_width, reverse=True)
    end = 0
    for name, dtype, shape in sorted_places:
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {
            "dtype": _DTYPES[dtype.str],
            "shape": shape,
            "data_offsets": (begin, end),
        }
    text = orjson.dumps(header)
    text += b" " * (-len(text) % _LENGTH_BYTES)
    head = len(text).to_bytes(_LENGTH_BYTES, "little") + text
    return head, [name for name, _, _ in sorted_places]


def _width(place: _Place) -> int:
    return place[1].itemsize


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

"""Named arrays ↔ the bytes of a safetensors file, with their order kept."""

from collections.abc import Mapping
from typing import Any

import orjson
import safetensors.numpy
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

_LENGTH_BYTES = 8
# By numpy's letters, which take a tenth of the time that its names do.
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
    header: dict[str, Any] = {_METADATA: {_ORDER: orjson.dumps(list(arrays)).decode()}}
    contents: list[bytes] = []
    end = 0
    for name, array in sorted(arrays.items(), key=_width, reverse=True):
        contents.append(array.tobytes())
        begin, end = end, end + array.nbytes
        header[name] = {
            "dtype": _DTYPES[array.dtype.str],
            "shape": array.shape,
            "data_offsets": (begin, end),
        }
    text = orjson.dumps(header)
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *contents])


def _width(item: tuple[str, NDArray[Any]]) -> int:
    return item[1].itemsize


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

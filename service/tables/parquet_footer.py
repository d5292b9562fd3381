"""What a Parquet file's footer says of its column chunks, read without Arrow.

Where a chunk's statistics contradict its type, Arrow's own class for it ends the process instead of
raising an error. The footer is Thrift's compact protocol:
https://github.com/apache/parquet-format and https://github.com/apache/thrift (compact-protocol).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MAGIC = b"PAR1"
_END_BYTES = 8
MOST_FOOTER_BYTES = 16 * 1024**2
# They are read one after the other, and hold the interpreter: a million take about a second. The
# chunk of a column takes about 40: this is room for 10,000 columns in 2 row groups, or 100 in 240.
MOST_VALUES = 1_000_000
_MOST_NESTED = 32

# The compact protocol's types.
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET = range(11)
_STRUCT = 12
# In a list each truth value has a byte of its own.
_FIXED_BYTES = {_TRUE: 1, _FALSE: 1, _BYTE: 1, _DOUBLE: 8}
_WHOLE = (_I16, _I32, _I64)
_LONG_LIST = 15
_MOST_VARINT_BITS = 63

# The fields' numbers in parquet.thrift.
_FILE_ROW_GROUPS = 4
_GROUP_COLUMNS, _GROUP_BYTES = 1, 2
_CHUNK_METADATA = 3
_METADATA_VALUES = 5


class RowGroup(NamedTuple):
    """A row group's size, inflated, and its chunks' values, a list's each counted."""

    n_bytes: int
    n_values: tuple[int, ...]


def row_groups(path: Path) -> list[RowGroup]:
    """Those of the file, in order. Raises ValueError where the footer is none, or too long.

    What it takes is bounded, whatever the footer holds: see `MOST_VALUES`.
    """
    footer = _Footer(_footer_of(path))
    try:
        return _groups(footer)
    except IndexError:
        raise ValueError("the footer ends too early") from None


def _footer_of(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_BYTES))
        end = file.read(_END_BYTES)
        length = int.from_bytes(end[:4], "little")
        if end[4:] != _MAGIC or length > size - _END_BYTES:
            raise ValueError("it does not end with a footer")
        if length > MOST_FOOTER_BYTES:
            raise ValueError(
                f"its footer has {length} bytes, and at most {MOST_FOOTER_BYTES} are read: write "
                "fewer row groups"
            )
        file.seek(size - _END_BYTES - length)
        return file.read(length)


def _groups(footer: "_Footer") -> list[RowGroup]:
    found: list[RowGroup] = []
    for number, kind in footer.fields():
        if (number, kind) == (_FILE_ROW_GROUPS, _LIST):
            found = [_group(footer) for _ in footer.structs()]
        else:
            footer.skip(kind)
    return found


def _group(footer: "_Footer") -> RowGroup:
    n_bytes = 0
    n_values: tuple[int, ...] = ()
    for number, kind in footer.fields():
        if (number, kind) == (_GROUP_COLUMNS, _LIST):
            n_values = tuple(_values_of_chunk(footer) for _ in footer.structs())
        elif (number, kind) == (_GROUP_BYTES, _I64):
            n_bytes = footer.whole()
        else:
            footer.skip(kind)
    return RowGroup(n_bytes, n_values)


def _values_of_chunk(footer: "_Footer") -> int:
    n_values = 0
    for number, kind in footer.fields():
        if (number, kind) == (_CHUNK_METADATA, _STRUCT):
            n_values = _values_of_metadata(footer)
        else:
            footer.skip(kind)
    return n_values


def _values_of_metadata(footer: "_Footer") -> int:
    n_values = 0
    for number, kind in footer.fields():
        if (number, kind) == (_METADATA_VALUES, _I64):
            n_values = footer.whole()
        else:
            footer.skip(kind)
    return n_values


def _fixed_bytes(kind: int) -> int:
    if kind not in _FIXED_BYTES:
        raise ValueError("the footer is none of Parquet's")
    return _FIXED_BYTES[kind]


class _Footer:
    """Bytes that are read from front to back; IndexError past their end, ValueError at too many."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self._n_left = MOST_VALUES

    def fields(self) -> Iterator[tuple[int, int]]:
        """The number and the type of each of a struct's fields; whoever asks reads its value."""
        number = 0
        while (head := self._byte()) != _STOP:
            self._count(1)
            number = number + (head >> 4) if head >> 4 else self.whole()
            yield number, head & 15

    def structs(self) -> range:
        """As many as a list of structs has; whoever asks reads each."""
        size, kind = self._list()
        if size and kind != _STRUCT:
            raise ValueError("the footer is none of Parquet's")
        self._count(size)
        return range(size)

    def whole(self) -> int:
        """A whole number."""
        folded = self._varint()
        return (folded >> 1) ^ -(folded & 1)

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a field's value."""
        if depth > _MOST_NESTED:
            raise ValueError("the footer is nested too deeply")
        if kind in _WHOLE:
            self._varint()
        elif kind == _BINARY:
            self._pass(self._varint())
        elif kind in (_LIST, _SET):
            self._skip_list(depth)
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind not in (_TRUE, _FALSE):
            # A truth value is told by its type.
            self._pass(_fixed_bytes(kind))

    def _skip_list(self, depth: int) -> None:
        size, kind = self._list()
        if kind in _FIXED_BYTES:
            self._pass(size * _FIXED_BYTES[kind])
            return
        self._count(size)
        for _ in range(size):
            self.skip(kind, depth + 1)

    def _count(self, n: int) -> None:
        self._n_left -= n
        if self._n_left < 0:
            raise ValueError(
                f"its footer has more than {MOST_VALUES} values: write fewer row groups"
            )

    def _list(self) -> tuple[int, int]:
        head = self._byte()
        size = head >> 4
        return (self._varint() if size == _LONG_LIST else size), head & 15

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004 (the bit that says that more follow)
                return value
            shift += 7
            if shift > _MOST_VARINT_BITS:
                raise ValueError("a number of the footer is too long")

    def _byte(self) -> int:
        byte = self._content[self._at]
        self._at += 1
        return byte

    def _pass(self, n_bytes: int) -> None:
        self._at += n_bytes
        if self._at > len(self._content):
            raise IndexError

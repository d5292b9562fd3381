"""How large an Arrow stream's batches are, told before they are decoded.

Compressed buffers say how long they are in their first eight bytes, and Arrow's reader inflates a
whole batch at once: without a look beforehand a few kilobytes could ask for all memory. The
layout is that of Arrow's Message.fbs, a FlatBuffers schema.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from service.errors import InvalidTable
from service.tables.pieces import ReadOptions

_MOST_BATCH_BYTES = 256 * 1024**2
_DICTIONARY, _RECORDS = 2, 3
_UNCOMPRESSED = -1


@dataclass(frozen=True)
class _Table:
    """A FlatBuffers table; raises struct.error where it leads out of its buffer."""

    buffer: memoryview
    place: int

    @classmethod
    def root(cls, buffer: memoryview) -> "_Table":
        return cls(buffer, struct.unpack_from("<I", buffer)[0])

    def field(self, number: int) -> int | None:
        """Where the field's value stands; None where it has its default."""
        back = struct.unpack_from("<i", self.buffer, self.place)[0]
        vtable = self.place - back
        if vtable < 0:
            raise struct.error("a table leads out of its buffer")
        if 4 + 2 * number >= struct.unpack_from("<H", self.buffer, vtable)[0]:
            return None
        offset = struct.unpack_from("<H", self.buffer, vtable + 4 + 2 * number)[0]
        return self.place + offset if offset else None

    def table(self, number: int) -> "_Table | None":
        """The table that the field points to."""
        place = self.field(number)
        if place is None:
            return None
        return _Table(self.buffer, place + struct.unpack_from("<I", self.buffer, place)[0])

    def pairs(self, number: int) -> Iterator[tuple[int, int]]:
        """The field's vector of two 64-bit numbers each."""
        place = self.field(number)
        if place is None:
            return
        place += struct.unpack_from("<I", self.buffer, place)[0]
        (n,) = struct.unpack_from("<I", self.buffer, place)
        for i in range(n):
            yield struct.unpack_from("<qq", self.buffer, place + 4 + 16 * i)


def check_messages(stream: pa.Buffer, options: ReadOptions) -> None:
    """Raise TooLarge or InvalidTable where the stream's batches decode to too much."""
    total = 0
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(stream)):
        try:
            n_bytes = _inflated_bytes(message)
        except struct.error as error:
            raise InvalidTable(f"a message of the Arrow stream is broken: {error}") from error
        if n_bytes > _MOST_BATCH_BYTES:
            raise InvalidTable(
                f"a compressed batch holds {n_bytes} bytes: write batches of at most "
                f"{_MOST_BATCH_BYTES} bytes, or uncompressed ones"
            )
        total += n_bytes
        options.refuse_inflated(total)


def _inflated_bytes(message: pa.ipc.Message) -> int:
    """What the message's compressed buffers hold; 0 where it has none."""
    root = _Table.root(memoryview(message.metadata))
    kind = root.field(1)
    header = root.table(2)
    if kind is None or header is None or header.buffer[kind] not in (_DICTIONARY, _RECORDS):
        return 0
    records = header.table(1) if header.buffer[kind] == _DICTIONARY else header
    if records is None or records.table(3) is None:
        return 0
    body = memoryview(message.body)
    return sum(_length(body, offset) for offset, length in records.pairs(2) if length)


def _length(body: memoryview, offset: int) -> int:
    if offset < 0:
        raise struct.error("a buffer leads out of its body")
    (length,) = struct.unpack_from("<q", body, offset)
    return 0 if length == _UNCOMPRESSED else abs(int(length))

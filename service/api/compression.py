"""Answers compressed as `Accept-Encoding` asks for (RFC 9110, section 12.5.3)."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Protocol

import pyarrow as pa
from flask import Flask, Response, request
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from service.tables.writers import Outbox

# Below it the headers that say so, and another's work, outweigh what is saved.
_LEAST_BYTES = 1024
_TEXT = "text/"
# Its events must arrive as they happen, not when a compressor has enough of them.
_LIVE = "text/event-stream"
_STRUCTURED = ("+json", "+xml")
_SHRINKING = frozenset(
    {
        "application/javascript",
        "application/json",
        "application/x-ndjson",
        "application/xml",
        "application/yaml",
    }
)
_OK, _NO_CONTENT, _PARTIAL, _NOT_MODIFIED = 200, 204, 206, 304
# More makes numbers hardly smaller, and takes four times as long.
_GZIP_LEVEL = 1
_GZIP_FORMAT = 16 + zlib.MAX_WBITS


class _Compressor(Protocol):
    """What zlib's compressors do."""

    def compress(self, piece: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Zstandard:
    """One frame of zstd by Arrow, whose level is 1."""

    def __init__(self) -> None:
        self._out = Outbox()
        self._stream = pa.CompressedOutputStream(self._out.sink, "zstd")

    def compress(self, piece: bytes, /) -> bytes:
        """What is ready of all that came so far."""
        self._stream.write(piece)
        return self._out.take()

    def flush(self) -> bytes:
        """The rest; the frame is whole then."""
        self._stream.close()
        return self._out.take()


# Of those that a client likes alike, the first is taken.
_CODINGS: Mapping[str, Callable[[], _Compressor]] = {
    "zstd": _Zstandard,
    "gzip": partial(zlib.compressobj, _GZIP_LEVEL, wbits=_GZIP_FORMAT),
}


def install(app: Flask) -> None:
    """Compress the app's answers."""
    app.after_request(_encode)


def _encode(answer: Response) -> Response:
    """The answer in the coding that the client likes best, where that makes it smaller."""
    if answer.status_code == _NO_CONTENT or not _shrinks(answer.mimetype):
        return answer
    answer.vary.add("Accept-Encoding")
    coding, plain = _asked(request.headers.get("Accept-Encoding", ""))
    if coding is None or answer.status_code in (_PARTIAL, _NOT_MODIFIED):
        return answer
    # Whoever refuses what is not encoded gets small answers so too.
    if plain and _is_small(answer):
        return answer
    return _encoded(answer, coding)


def _shrinks(media_type: str | None) -> bool:
    """Whether content of this type is text, which pictures and most binary formats are not."""
    if media_type is None or media_type == _LIVE:
        return False
    return (
        media_type.startswith(_TEXT) or media_type.endswith(_STRUCTURED) or media_type in _SHRINKING
    )


@lru_cache(maxsize=64)
def _asked(header: str) -> tuple[str | None, bool]:
    """The coding that the client likes best, if any, and whether it takes an answer without one.

    Where it refuses everything, it gets an answer without one all the same: a POST has been done
    by then.
    """
    accepted = parse_accept_header(header, Accept)
    is_named = accepted.find("identity") >= 0
    plain = accepted.quality("identity")
    best = max(_CODINGS, key=accepted.quality)
    liked = accepted.quality(best)
    return best if liked > 0 and liked >= plain else None, not is_named or plain > 0


def _is_small(answer: Response) -> bool:
    """Whether it is known to be; what is sent as it is made may be large."""
    length = answer.headers.get("Content-Length", type=int)
    if length is None and answer.is_sequence:
        length = answer.calculate_content_length()
    return length is not None and length < _LEAST_BYTES


def _encoded(answer: Response, coding: str) -> Response:
    """The same in another coding: a representation of its own, with a strong tag of its own."""
    tag, is_weak = answer.get_etag()
    if tag is not None and not is_weak:
        tag = f"{tag}-{coding}"
        answer.set_etag(tag)
        # The view knows only the tag of what it has made.
        if answer.status_code == _OK and request.if_none_match.contains_weak(tag):
            answer.status_code = _NOT_MODIFIED
            return answer
    # Parts are those of the content as it is: see `_encode`.
    answer.headers.pop("Accept-Ranges", None)
    answer.headers["Content-Encoding"] = coding
    if answer.is_sequence:
        compressor = _CODINGS[coding]()
        answer.set_data(compressor.compress(answer.get_data()) + compressor.flush())
    else:
        _encode_stream(answer, _CODINGS[coding])
    return answer


def _encode_stream(answer: Response, begin: Callable[[], _Compressor]) -> None:
    """Have the pieces compressed one by one, as they are made."""
    answer.headers.pop("Content-Length", None)
    answer.direct_passthrough = False
    pieces = answer.iter_encoded()
    # Closing what compresses does not close what it has not begun to read.
    if hasattr(answer.response, "close"):
        answer.call_on_close(answer.response.close)
    answer.response = _compressed(pieces, begin)


def _compressed(pieces: Iterable[bytes], begin: Callable[[], _Compressor]) -> Iterator[bytes]:
    """Whatever is ready, never an empty piece; no end where the pieces fail."""
    compressor = begin()
    for piece in pieces:
        if ready := compressor.compress(piece):
            yield ready
    yield compressor.flush()

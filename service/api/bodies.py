"""A request's body: inflated, bounded, and never in memory unless it is small."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson
import pyarrow as pa
from flask import g, request
from gunicorn.http.errors import ParseException
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import ClientDisconnected
from werkzeug.formparser import FormDataParser

from service.errors import InvalidInput, Malformed, Place, TooLarge, UnsupportedMediaType

Fields = MultiDict[str, str]
Files = MultiDict[str, FileStorage]

MULTIPART = "multipart/form-data"
IDEMPOTENCY_KEY = "Idempotency-Key"

_CHUNK_BYTES = 1024**2
_MOST_FIELD_BYTES = 64 * 1024
_MOST_PARTS = 10
# Arrow's codecs by their HTTP names.
_CODECS = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
_PLAIN = ("", "identity")


@dataclass(frozen=True)
class Upload:
    """A body, or the `file` part of one, on disk."""

    path: Path
    media_type: str


class Body:
    """The body as a stream, inflated as `Content-Encoding` says.

    Reading raises TooLarge past `most_bytes`, and Malformed where the body is cut off or is not
    what its encoding says.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._n_bytes = 0
        # A multipart body has another boundary each time: its part is told from others instead.
        noted = IDEMPOTENCY_KEY in request.headers and request.mimetype != MULTIPART
        self._digest = hashlib.sha256() if noted else None
        self._stream = _inflating(request.headers.get("Content-Encoding", "").strip().lower())

    def read(self, size: int = _CHUNK_BYTES) -> bytes:
        """At most so many bytes; none at the end."""
        try:
            chunk: bytes = self._stream.read(size)
        except OSError as error:
            raise Malformed(f"the body cannot be read: {error}") from error
        self._n_bytes += len(chunk)
        if self._n_bytes > self._most_bytes:
            raise TooLarge(f"the body is past {self._most_bytes} bytes")
        self._note(chunk)
        return chunk

    def read_all(self) -> bytes:
        """The whole body."""
        return b"".join(iter(self.read, b""))

    def _note(self, chunk: bytes) -> None:
        """Tell the body from others, for a request that may come again."""
        if self._digest is not None:
            self._digest.update(chunk)
            g.body_digest = self._digest.hexdigest()


class _Whole:
    """The body as it came; raises Malformed where it is shorter than was announced."""

    def __init__(self) -> None:
        self._missing = request.content_length
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; none at the end."""
        try:
            chunk = request.stream.read(size)
        except (ParseException, ClientDisconnected) as error:
            raise Malformed(f"the body was cut off: {error}") from error
        if self._missing is not None:
            self._missing -= len(chunk)
            if not chunk and size and self._missing > 0:
                raise Malformed(f"the body was cut off: {self._missing} bytes are missing")
        return chunk

    def close(self) -> None:
        """Arrow closes what it gives up inflating."""
        self.closed = True


class _Inflated:
    """The body with its encoding undone; reading raises OSError where it is not what that says."""

    def __init__(self, codec: str) -> None:
        self._stream = pa.CompressedInputStream(pa.PythonFile(_Whole(), "r"), codec)

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        # Arrow's own `read` never gives back the bytes that it has set aside when it fails.
        inflated: bytes = self._stream.read_buffer(size).to_pybytes()
        return inflated


def _inflating(encoding: str) -> Any:
    if encoding in _PLAIN:
        return _Whole()
    if encoding not in _CODECS:
        accepted = ", ".join(("identity", *_CODECS))
        detail = f"the Content-Encoding is {encoding!r}; accepted: {accepted}"
        raise UnsupportedMediaType(detail)
    return _Inflated(_CODECS[encoding])


def receive(directory: Path, most_bytes: int, suffixes: Mapping[str, str]) -> Upload:
    """Write the body, or the one `file` part of a multipart body, into the directory.

    `suffixes`: media types by the suffix of a file's name, for parts that do not say their own.
    """
    path = directory / "upload"
    body = Body(most_bytes)
    if request.mimetype == MULTIPART:
        return _receive_part(body, path, suffixes)
    with path.open("wb") as file:
        shutil.copyfileobj(body, file, _CHUNK_BYTES)
    return Upload(path, request.mimetype)


def _receive_part(body: Body, path: Path, suffixes: Mapping[str, str]) -> Upload:
    with ExitStack() as opened:

        def open_part(*_: object, **__: object) -> IO[bytes]:
            # Each part overwrites the one before: more than one is refused below.
            return opened.enter_context(path.open("wb+"))

        fields, files = _parse_form(body, open_part)
    names = [name for given in (fields, files) for name, _ in given.items(multi=True)]
    if names != ["file"] or not files:
        listed = ", ".join(map(repr, names)) or "none"
        detail = f"one part named 'file', with a file name, is needed; there are: {listed}"
        raise InvalidInput(detail, places=[Place("one_file", detail)])
    part = files["file"]
    upload = Upload(path, _type_of_part(part.mimetype, part.filename or "", suffixes))
    if IDEMPOTENCY_KEY in request.headers:
        g.body_digest = _digest_of_part(part, upload)
    return upload


def _digest_of_part(part: FileStorage, upload: Upload) -> str:
    """Tells the part from others, by its file's name, its type and its content."""
    with upload.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    # A digest has one length, so that no name or type can be taken for a piece of it.
    named = orjson.dumps([part.filename, upload.media_type])
    return hashlib.sha256(digest.digest() + named).hexdigest()


def _parse_form(body: Body, open_part: Callable[..., IO[bytes]]) -> tuple[Fields, Files]:
    parser = FormDataParser(
        stream_factory=open_part,
        max_form_memory_size=_MOST_FIELD_BYTES,
        max_form_parts=_MOST_PARTS,
        silent=False,
    )
    stream = cast(IO[bytes], body)
    length, boundary = request.content_length, request.mimetype_params
    try:
        _, fields, files = parser.parse(stream, request.mimetype, length, boundary)
    except ValueError as error:
        raise Malformed(f"the multipart body cannot be read: {error}") from error
    return fields, files


def _type_of_part(media_type: str, file_name: str, suffixes: Mapping[str, str]) -> str:
    """The part's own type where it is one of the known ones, else its file name's."""
    if media_type in suffixes.values():
        return media_type
    suffix = Path(file_name).suffix.lower()
    if suffix not in suffixes:
        known = ", ".join(suffixes)
        detail = f"the file part {file_name!r} is {media_type!r}; name it by one of: {known}"
        raise UnsupportedMediaType(detail)
    return suffixes[suffix]

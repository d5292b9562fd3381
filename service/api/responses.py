"""What a view answers with."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from flask import Response, request


class Stream(Response):
    """A body that is sent as it is made; werkzeug would gather it to find out how long it is."""

    implicit_sequence_conversion = False


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The body as JSON; what is no finite number is null."""
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, status, dict(headers or {}), content_type="application/json")


def no_content() -> Response:
    """204: done, with nothing to say."""
    answer = Response(status=204)
    # Flask names a type for a body that is not there.
    del answer.headers["Content-Type"]
    return answer


def resource(body: Any, headers: Mapping[str, str] | None = None) -> Response:
    """A resource that may change: 304 where the client has this state of it already."""
    answer = json_response(body, headers=headers)
    answer.set_etag(_tag(answer.get_data()), weak=True)
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.make_conditional(request)
    return answer


def artifact(content: bytes, media_type: str, file_name: str) -> Response:
    """Bytes that never change: strong ETag, Range, kept by caches."""
    answer = Response(content, content_type=media_type)
    answer.set_etag(_tag(content))
    answer.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    answer.headers["Content-Disposition"] = f'inline; filename="{file_name}"'
    answer.make_conditional(request, accept_ranges=True, complete_length=len(content))
    return answer


def streamed(pieces: Iterator[bytes], media_type: str, file_name: str, tag: str) -> Response:
    """Bytes that never change, sent as they are made; one form of several."""
    answer = one_of_several(pieces, media_type)
    answer.set_etag(tag)
    answer.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    answer.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    answer.make_conditional(request)
    return answer


def download(pieces: Iterator[bytes], media_type: str, file_name: str) -> Response:
    """Bytes that may be others at another time, sent as they are made."""
    first = next(pieces, b"")
    answer = Stream(_resume(first, pieces), content_type=media_type)
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    return answer


def one_of_several(pieces: Iterator[bytes], media_type: str) -> Response:
    """Bytes that are sent as they are made; the form is the one that `Accept` named."""
    # The first piece is made here, so that what fails at once has an answer of its own.
    first = next(pieces, b"")
    answer = Stream(_resume(first, pieces), content_type=media_type)
    answer.vary.add("Accept")
    return answer


def _resume(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _tag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]

"""The service as the terminal's client speaks to it."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from service.client.answers import body_of, judge
from service.client.errors import Refused, Unreachable, WrongUsage
from service.client.retrying import Later, Patience
from service.media_types import MEDIA_TYPES

DEFAULT_URL = "http://127.0.0.1:8000"

_WAIT_SECONDS = 30
_CONNECT_SECONDS = 5.0
# Longer than the service holds an answer, or a silent stream goes without a comment.
_TIMEOUT_SECONDS = 60.0
# A large table is answered once all of it has been read.
_UPLOAD_SECONDS = 600.0
# Whatever is sent by these is made once, however often it is sent.
_KEY = "Idempotency-Key"
_GONE = ("gone", "not_found")
_ENCODINGS = {".gz": "gzip", ".zst": "zstd"}


class Service:
    """One service, asked again for a while where it does not answer.

    `patience` makes the pauses of one request. Raises Refused where the service says no,
    Unreachable where it says nothing for as long, and WrongUsage for an address or a key that
    cannot be.
    """

    def __init__(self, url: str, key: str | None, patience: Callable[[], Patience]) -> None:
        headers = {"User-Agent": "thalweg-client"} | _authorization(key)
        timeout = httpx.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_SECONDS)
        self.patience = patience
        self._client = httpx.Client(base_url=_address(url), headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **headers: str) -> dict[str, Any]:
        """What is there."""
        return body_of(self._ask(lambda: self._client.get(path, headers=headers)))

    def wait(self, path: str) -> dict[str, Any]:
        """What is there, held by the service until it ends or for some seconds."""
        return self.get(path, Prefer=f"wait={_WAIT_SECONDS}")

    def lines(self, path: str) -> list[str]:
        """The lines of a text that is there."""
        return self._ask(lambda: self._client.get(path)).text.splitlines()

    def post(self, path: str, body: Any = None) -> dict[str, Any]:
        """What comes of the body."""
        headers = _once()
        return body_of(self._ask(lambda: self._client.post(path, json=body, headers=headers)))

    def delete(self, path: str) -> None:
        """Have what is there forgotten."""
        n_sent = 0

        def send() -> httpx.Response:
            nonlocal n_sent
            n_sent += 1
            return self._client.delete(path)

        try:
            self._ask(send)
        except Refused as refusal:
            # An earlier one was done, and its answer was lost.
            if n_sent == 1 or refusal.code not in _GONE:
                raise

    def upload(self, path: Path, **parameters: str) -> dict[str, Any]:
        """Keep the file's table; the dataset. `parameters` are the operation's."""
        headers = _table_headers(path) | _once()
        timeout = httpx.Timeout(_UPLOAD_SECONDS, connect=_CONNECT_SECONDS)

        def send() -> httpx.Response:
            with _opened(path) as file:
                return self._client.post(
                    "/v1/datasets",
                    content=file,
                    headers=headers,
                    params=parameters,
                    timeout=timeout,
                )

        return body_of(self._ask(send))

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """An answer whose body is read as it comes; raises Later beside what the others raise."""
        with self._reaching(), self._client.stream("GET", path, headers=headers) as answer:
            if not answer.is_success:
                answer.read()
            judge(answer)
            yield answer

    def _ask(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        patience = self.patience()
        while True:
            try:
                with self._reaching():
                    answer = send()
                judge(answer)
            except Later as trouble:
                patience.pause(trouble)
            else:
                return answer

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            host = str(self._client.base_url).rstrip("/")
            raise Later(Unreachable(f"{host} does not answer: {reason}")) from error
        except (httpx.DecodingError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self._client.base_url} is not understood: {error}") from error


def _table_headers(path: Path) -> dict[str, str]:
    """What a table's file is, by its name: `data.csv`, `data.csv.gz`."""
    encoding = _ENCODINGS.get(path.suffix.lower())
    named = path if encoding is None else path.with_suffix("")
    media_type = MEDIA_TYPES.get(named.suffix.lower())
    if media_type is None:
        known = ", ".join(MEDIA_TYPES)
        raise WrongUsage(f"{path}: the suffix must be one of {known}, and .gz or .zst after it")
    return {"Content-Type": media_type} | ({"Content-Encoding": encoding} if encoding else {})


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        # A path with NUL in it is none.
        reason = error.strerror if isinstance(error, OSError) else error
        raise WrongUsage(f"{path}: {reason}") from error
    with file:
        yield file


def _once() -> dict[str, str]:
    return {_KEY: uuid.uuid4().hex}


def _address(url: str) -> httpx.URL:
    """The URL; raises WrongUsage for one that leads nowhere."""
    try:
        address = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise WrongUsage(f"--url {url}: {error}") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise WrongUsage(f"--url {url}: an address is wanted like {DEFAULT_URL}")
    return address


def _authorization(key: str | None) -> dict[str, str]:
    """The header that the key is sent in; raises WrongUsage where no key looks like that."""
    # Files and secrets of containers often end with a line's end.
    trimmed = (key or "").strip()
    if not (trimmed.isascii() and trimmed.isprintable()):
        raise WrongUsage("--key: a key has only visible ASCII characters")
    return {"Authorization": f"Bearer {trimmed}"} if trimmed else {}

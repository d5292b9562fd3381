"""The service as the terminal's client speaks to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx_sse

from service.media_types import MEDIA_TYPES

_WAIT_SECONDS = 30
_TIMEOUT_SECONDS = 60.0


class Refused(Exception):
    """The service's answer is a problem; `lines` say what to mend."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines[0])
        self.lines = lines


class Unreachable(Exception):
    """The service does not answer, or fails at its own."""


class Service:
    """One service; raises Refused where it says no, and Unreachable where it says nothing."""

    def __init__(self, url: str, key: str | None) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def get(self, path: str, **headers: str) -> dict[str, Any]:
        """What is there."""
        return self._json("GET", path, headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> dict[str, Any]:
        """What comes of the body."""
        return self._json("POST", path, json=body, headers=headers)

    def lines(self, path: str) -> list[str]:
        """The lines of a text that is there."""
        with self._reaching():
            answer = self._client.get(path)
        _refuse_problem(answer)
        return answer.text.splitlines()

    def upload(self, path: Path) -> dict[str, Any]:
        """Keep the file's table; the dataset."""
        media_type = MEDIA_TYPES.get(path.suffix.lower())
        if media_type is None:
            known = ", ".join(MEDIA_TYPES)
            raise Refused([f"{path}: the suffix must be one of {known}"])
        try:
            with path.open("rb") as file:
                headers = {"Content-Type": media_type}
                return self._json("POST", "/v1/datasets", content=file, headers=headers)
        except OSError as error:
            raise Refused([f"{path}: {error.strerror}"]) from error

    def wait(self, path: str) -> dict[str, Any]:
        """What is there, held by the service until it ends or for some seconds."""
        return self.get(path, Prefer=f"wait={_WAIT_SECONDS}")

    @contextmanager
    def events(self, path: str) -> Iterator[Iterator[tuple[str, Any]]]:
        """The events of a job, its type and data each, until its end."""
        headers = {"Accept": "text/event-stream"}
        with (
            self._reaching(),
            httpx_sse.connect_sse(self._client, "GET", path, headers=headers) as source,
        ):
            if source.response.is_error:
                source.response.read()
            _refuse_problem(source.response)
            # What only says when to come again has no data.
            yield ((one.event, one.json()) for one in source.iter_sse() if one.data)

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        with self._reaching():
            answer = self._client.request(method, path, **request)
        _refuse_problem(answer)
        found: dict[str, Any] = answer.json()
        return found

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise Unreachable(f"{self._client.base_url} does not answer: {error}") from error


def _refuse_problem(answer: httpx.Response) -> None:
    if not answer.is_error:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = {"detail": answer.text or answer.reason_phrase}
    if answer.is_server_error:
        raise Unreachable(f"{answer.status_code}: {problem.get('detail')}")
    places = [
        f"  {place.get('pointer') or ''}: {place['detail']}" for place in problem.get("errors", [])
    ]
    raise Refused([problem.get("detail", ""), *places])

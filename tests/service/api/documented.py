"""A client that holds every answer to what `openapi.yaml` says of its operation."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from service.api.openapi import operation_of

DOCUMENT = Path(__file__).parents[3] / "openapi.yaml"
# What HTTP itself says of a body and its way, and what is for browsers and proxies alone.
UNNAMED = {
    "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Date", "Vary",
    "X-Accel-Buffering", "X-Content-Type-Options",
}  # fmt: skip


class DocumentedClient(FlaskClient):
    """Asserts of each answer that its status and its headers are documented."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """The answer, looked at."""
        answer = super().open(*args, **kwargs)
        asked = answer.request
        operation_id = _operation_id(self.application, asked.path, asked.method)
        if operation_id is not None:
            _look_at(answer, answers()[operation_id])
        return answer


def _operation_id(app: Flask, path: str, method: str) -> str | None:
    """The operation that the router finds; None where there is none, or it has no description."""
    if method == "OPTIONS":
        # The same for every path, and no operation of it.
        return None
    try:
        endpoint, _ = app.url_map.bind("localhost").match(path, method=method)
    except HTTPException:
        return None
    described = operation_of(app.view_functions[endpoint])
    return described.operation_id if described else None


def _look_at(answer: TestResponse, documented: dict[str, Any]) -> None:
    what = f"{answer.request.method} {answer.request.path}: {answer.status}"
    assert str(answer.status_code) in documented, what
    named = documented[str(answer.status_code)]["headers"]
    found = set(answer.headers.keys())
    always = {name for name, header in named.items() if header["required"]}
    assert found - {*named, *UNNAMED} == set(), f"undocumented headers of {what}"
    assert always - found == set(), f"missing headers of {what}"
    for name in found & set(named):
        if named[name]["schema"]["type"] == "integer":
            assert int(answer.headers[name]) >= named[name]["schema"]["minimum"], what


@cache
def _loaded() -> dict[str, Any]:
    # A safe loader, in C.
    loaded: dict[str, Any] = yaml.load(DOCUMENT.read_text(), yaml.CSafeLoader)
    return loaded


def components() -> dict[str, dict[str, Any]]:
    """What the committed document's operations refer to, by group and name."""
    found: dict[str, dict[str, Any]] = _loaded()["components"]
    return found


@cache
def paths() -> dict[str, dict[str, Any]]:
    """The committed document's operations by path and method, answers and headers written out."""
    return {
        path: {method: _written_out(op) for method, op in methods.items()}
        for path, methods in _loaded()["paths"].items()
    }


def _written_out(described: dict[str, Any]) -> dict[str, Any]:
    responses = {status: _referred(answer) for status, answer in described["responses"].items()}
    for status, answer in responses.items():
        headers = {name: _referred(header) for name, header in answer["headers"].items()}
        responses[status] = answer | {"headers": headers}
    return described | {"responses": responses}


def _referred(one: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in one:
        return one
    _, _, group, name = one["$ref"].split("/")
    found: dict[str, Any] = components()[group][name]
    return found


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The path, the method and the description of every operation."""
    for path, methods in paths().items():
        for method, described in methods.items():
            yield path, method, described


@cache
def answers() -> dict[str, dict[str, Any]]:
    """The answers of each operation, by its id and their status."""
    return {described["operationId"]: described["responses"] for *_, described in operations()}

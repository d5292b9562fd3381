"""The OpenAPI document, written from the views themselves.

A view says what it takes and answers with `@operation`; the document is what all of them say.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.problems import MEDIA_TYPE
from service.api.queries import NoParameters
from service.schemas.answers import Problem

View = TypeVar("View", bound=Callable[..., Any])

_REF = "#/components/schemas/{model}"
_HEADERS = {
    "Location": "Where the new resource is.",
    "Retry-After": "Seconds after which to look again.",
    "Preference-Applied": "The preference that was followed.",
    "Link": "The next page (RFC 8288).",
    "ETag": "The state's tag, for If-None-Match.",
}
_STATUS = {
    200: "Done.",
    201: "Made.",
    202: "Accepted; not ended yet.",
    204: "Done; nothing to say.",
    206: "The part that was asked for.",
    304: "The client has this state already.",
    400: "The body is not what its type says.",
    404: "No such thing.",
    406: "No acceptable form.",
    409: "Not in its present state.",
    410: "It is gone.",
    413: "The body is too large.",
    415: "Not this content type.",
    416: "No such part.",
    422: "It means nothing here; `errors` says what to mend.",
    500: "The service failed.",
    503: "A part of the service does not answer.",
}


BINARY: Mapping[str, Any] = {"type": "string", "format": "binary"}
FILE_PART: Mapping[str, Any] = {
    "type": "object",
    "properties": {"file": BINARY},
    "required": ["file"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Content:
    """A body of one media type: a model, or text or bytes where there is none."""

    media_type: str = "application/json"
    model: type[BaseModel] | None = None
    example: Any = None
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Operation:
    """What one view takes and answers."""

    operation_id: str
    tag: str
    summary: str
    answers: Mapping[int, tuple[Content, ...]]
    body: tuple[Content, ...] = ()
    query: type[BaseModel] = NoParameters
    problems: tuple[int, ...] = ()
    headers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    prefers_wait: bool = False
    path_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def operation(described: Operation) -> Callable[[View], View]:
    """Note what the view below takes and answers."""

    def note(view: View) -> View:
        view.__dict__["operation"] = described
        return view

    return note


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """What the view's `@operation` noted; None where it has none."""
    return view.__dict__.get("operation")


def document(app: Flask) -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    found = list(_operations(app))
    _, definitions = models_json_schema(
        [(model, "validation") for model in _models(op for _, _, op in found)],
        ref_template=_REF,
    )
    paths: dict[str, Any] = {}
    for path, method, described in found:
        paths.setdefault(path, {})[method] = _describe(path, described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Thalweg",
            "version": version("thalweg"),
            "description": "Fits models over HTTP.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in sorted({op.tag for _, _, op in found})],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(definitions["$defs"].items()))},
    }


def _operations(app: Flask) -> Iterator[tuple[str, str, Operation]]:
    for rule in app.url_map.iter_rules():
        described = operation_of(app.view_functions[rule.endpoint])
        if described is not None:
            path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule)
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield path, method.lower(), described


def _models(operations: Iterator[Operation]) -> list[type[BaseModel]]:
    models: dict[type[BaseModel], None] = {Problem: None}
    for described in operations:
        contents = [*described.body, *(c for answer in described.answers.values() for c in answer)]
        models |= {content.model: None for content in contents if content.model}
    return list(models)


def _describe(path: str, described: Operation) -> dict[str, Any]:
    answers = {
        str(status): _answer(status, contents, described.headers.get(status, ()))
        for status, contents in described.answers.items()
    }
    for status in (*described.problems, 500):
        answers[str(status)] = _answer(status, (Content(MEDIA_TYPE, Problem),), ())
    body = {"requestBody": {"required": True, "content": _contents(described.body)}}
    return {
        "operationId": described.operation_id,
        "tags": [described.tag],
        "summary": described.summary,
        "parameters": [*_path_parameters(path, described), *_query_parameters(described.query)]
        + ([_PREFER] if described.prefers_wait else []),
        **(body if described.body else {}),
        "responses": dict(sorted(answers.items())),
    }


_PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "`wait=N` holds the answer until the end, N seconds at most.",
    "schema": {"type": "string"},
    "example": "wait=10",
}


def _answer(status: int, contents: tuple[Content, ...], headers: tuple[str, ...]) -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    told = {"X-Request-Id": {"description": "The request's id in the logs.", **text}}
    told |= {name: {"description": _HEADERS[name], **text} for name in headers}
    content = {"content": _contents(contents)} if contents else {}
    return {"description": _STATUS[status], "headers": told, **content}


def _contents(contents: tuple[Content, ...]) -> dict[str, Any]:
    return {content.media_type: _content(content) for content in contents}


def _content(content: Content) -> dict[str, Any]:
    schema = content.schema or {"type": "string"}
    if content.model:
        schema = {"$ref": _REF.format(model=content.model.__name__)}
    example = {} if content.example is None else {"example": content.example}
    return {"schema": dict(schema), **example}


def _path_parameters(path: str, described: Operation) -> list[dict[str, Any]]:
    parameters = []
    for name in re.findall(r"{(\w+)}", path):
        values = described.path_values.get(name)
        schema = {"type": "string"} | ({"enum": list(values)} if values else {})
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    return parameters


def _query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    parameters = []
    for name, described in schema.get("properties", {}).items():
        parameter = {"name": name, "in": "query", "schema": described}
        if text := described.pop("description", None):
            parameter["description"] = text
        if described.get("type") == "object":
            parameter |= {"style": "deepObject", "explode": True}
        parameters.append(parameter)
    return parameters

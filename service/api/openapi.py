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

from service.api.answer_headers import HEADERS, described_headers, of_success
from service.api.bodies import IDEMPOTENCY_KEY
from service.api.documented_problems import problem_answer, problem_answers, problem_examples
from service.api.examples import ANSWERS, IDS
from service.api.queries import NoParameters
from service.api.streams import LAST_EVENT_ID
from service.keys import Scope
from service.schemas.answers.problems import Problem

View = TypeVar("View", bound=Callable[..., Any])

_REF = "#/components/schemas/{model}"
_EXAMPLE_REF = "#/components/examples/{model}"
_STATUS = {
    200: "Done.",
    201: "Made.",
    202: "Accepted; not ended yet.",
    204: "Done; nothing to say.",
    206: "The part that was asked for.",
    304: "The client has this state already.",
    503: "A part of the service does not answer.",
}


_TAGS = {
    "artifacts": "What a fit has kept: weights, history, trajectory, pictures, a script.",
    "batches": "Many fits in one call.",
    "checks": "A fit's numbers beside what is expected.",
    "datasets": "Tables.",
    "fits": "Models fitted to tables.",
    "gradients": "A loss and its gradient at given weights.",
    "lr-range-tests": "Learning rates to begin with.",
    "operations": "What operators watch.",
    "predictions": "What a fitted model says of new rows, and how good that is.",
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
    # Those that not every answer has: see `service.api.answer_headers`.
    headers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    prefers_wait: bool = False
    creates: bool = False
    # Read for what only reads, else write, unless told otherwise; nobody's key is asked if public.
    scope: Scope | None = None
    public: bool = False
    resumes: bool = False
    path_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    path_examples: Mapping[str, str] = field(default_factory=dict)


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
    for path in paths:
        _link(path, paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Thalweg",
            "version": version("thalweg"),
            "description": "Fits models over HTTP.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": name, "description": _TAGS[name]}
            for name in sorted({op.tag for *_, op in found})
        ],
        "paths": dict(sorted(paths.items())),
        # No key is asked for while none was ever made.
        "security": [{"key": []}, {}],
        "components": {
            "schemas": {name: _polished(one) for name, one in sorted(definitions["$defs"].items())},
            "headers": dict(HEADERS),
            "responses": problem_answers(),
            "examples": {name: {"value": value} for name, value in sorted(ANSWERS.items())}
            | problem_examples(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _link(collection: str, paths: dict[str, Any]) -> None:
    """Say of what is made by a POST to the collection which operations its id leads to."""
    made = [
        answer for s, answer in _answers_to_post(paths[collection]) if s in ("200", "201", "202")
    ]
    links = {
        described["operationId"]: {
            "operationId": described["operationId"],
            "parameters": {name: "$response.body#/id"},
        }
        for path, methods in sorted(paths.items())
        if (name := _id_parameter(collection, path))
        for described in methods.values()
    }
    for answer in made if links else ():
        answer["links"] = links


def _answers_to_post(methods: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from methods.get("post", {"responses": {}})["responses"].items()


def _id_parameter(collection: str, path: str) -> str | None:
    """The parameter that comes right after the collection in the path, if that is all of them."""
    found = re.fullmatch(re.escape(collection) + r"/{(\w+)}[^{}]*", path)
    return found and found.group(1)


def _polished(schema: Any) -> Any:
    """The schema as generators of clients can read it.

    A kind that tells a union's members apart is always there, and has no default; nor has
    anything whose default is an object.
    """
    if isinstance(schema, list):
        return [_polished(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    polished = {key: _polished(part) for key, part in schema.items() if not _is_object(key, part)}
    properties = polished.get("properties")
    if isinstance(properties, dict) and "const" in properties.get("kind", {}):
        properties["kind"].pop("default", None)
        polished["required"] = sorted({*polished.get("required", ()), "kind"})
    return polished


def _is_object(key: str, value: Any) -> bool:
    return key == "default" and isinstance(value, dict)


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
    kind = {"creates": described.creates, "public": described.public}
    answers = {
        str(status): _answer(status, contents, of_success(status, described.headers, **kind))
        for status, contents in described.answers.items()
    }
    for status in _problems(described):
        answers[str(status)] = problem_answer(status, **kind)
    body = {"requestBody": {"required": True, "content": _contents(described.body)}}
    return {
        "operationId": described.operation_id,
        "tags": [described.tag],
        "summary": described.summary,
        "parameters": [*_path_parameters(path, described), *_query_parameters(described.query)]
        + ([_PREFER] if described.prefers_wait else [])
        + ([_IDEMPOTENCY_KEY] if described.creates else [])
        + ([_LAST_EVENT_ID] if described.resumes else []),
        **(body if described.body else {}),
        "responses": dict(sorted(answers.items())),
        **({"security": []} if described.public else {}),
    }


def _problems(described: Operation) -> Iterator[int]:
    yield from described.problems or (422,)
    if described.creates:
        yield 409
    if not described.public:
        # Whose key it is, the database knows, which may be away.
        yield from (401, 403, 429, 503)
    yield 500


_PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "`wait=N` holds the answer until the end, N seconds at most.",
    "schema": {"type": "string"},
    "example": "wait=10",
}


_IDEMPOTENCY_KEY = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "description": (
        "A request that comes again with the same key, within a day, makes nothing new: "
        "it gets its first answer, and `Idempotent-Replayed: true`."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 257},
    "example": "b2a6e0f4-6f7e-4f0c-9a5f-3f2f1f6f7c11",
}


_LAST_EVENT_ID = {
    "name": LAST_EVENT_ID,
    "in": "header",
    "description": "Only the events after the one of this id.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,16}$"},
    "example": "0",
}


def _answer(status: int, contents: tuple[Content, ...], headers: tuple[str, ...]) -> dict[str, Any]:
    content = {"content": _contents(contents)} if contents else {}
    return {"description": _STATUS[status], "headers": described_headers(headers), **content}


def _contents(contents: tuple[Content, ...]) -> dict[str, Any]:
    return {content.media_type: _content(content) for content in contents}


def _content(content: Content) -> dict[str, Any]:
    schema: Mapping[str, Any] = content.schema or {"type": "string"}
    example = {} if content.example is None else {"example": content.example}
    if content.model:
        name = content.model.__name__
        schema = {"$ref": _REF.format(model=name)}
        if name in ANSWERS:
            example = {"examples": {"answer": {"$ref": _EXAMPLE_REF.format(model=name)}}}
    return {"schema": dict(schema), **example}


def _path_parameters(path: str, described: Operation) -> list[dict[str, Any]]:
    parameters = []
    for name in re.findall(r"{(\w+)}", path):
        values = described.path_values.get(name)
        schema = {"type": "string"} | ({"enum": list(values)} if values else {})
        parameter = {"name": name, "in": "path", "required": True, "schema": schema}
        example = values[0] if values else {**IDS, **described.path_examples}[name]
        parameters.append(parameter | {"example": example})
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

"""Pydantic's errors → our own, each with a pointer into what the client sent."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from service.errors import InvalidInput, Malformed, Place
from service.pointers import pointer

Model = TypeVar("Model", bound=BaseModel)

MOST_PLACES = 20
_OF_TAGS = ("union_tag_not_found", "union_tag_invalid")
_CODES = {"extra_forbidden": "unknown_field", "missing": "required"}


def parse_json(model: type[Model], body: bytes) -> Model:
    """The body as the model; raises Malformed where it is no JSON, InvalidInput with pointers."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _explained(model, error, _parsed(body)) from None


def parse_object(model: type[Model], values: Any) -> Model:
    """A part of a JSON body as the model; raises InvalidInput with pointers into that part."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explained(model, error, values) from None


def parse_mapping(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Query parameters as the model, numbers from their text; raises InvalidInput."""
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        named = [(_name(place), place) for place in _places(model, error, values)]
        places = [
            Place(place.code, f"the query parameter {name!r}: {place.detail}")
            for name, place in named
        ]
        raise InvalidInput(places[0].detail, places=places) from None


def _name(place: Place) -> str:
    return (place.pointer or "/").split("/")[1]


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is no JSON: {error}") from None


def _explained(model: type[BaseModel], error: ValidationError, sent: Any) -> InvalidInput:
    places = _places(model, error, sent)
    first = places[0]
    where = f"{first.pointer}: " if first.pointer else ""
    more = f" ({error.error_count()} errors)" if error.error_count() > 1 else ""
    return InvalidInput(f"{where}{first.detail}{more}", places=places)


def _places(model: type[BaseModel], error: ValidationError, sent: Any) -> list[Place]:
    found = error.errors(include_url=False, include_input=False)
    return [_place(model, one, sent) for one in found[:MOST_PLACES]]


def _place(model: type[BaseModel], one: Mapping[str, Any], sent: Any) -> Place:
    path = _real_path(one["loc"], sent, keep_last=one["type"] in _CODES)
    code = _CODES.get(one["type"], one["type"])
    detail = one["msg"][0].lower() + one["msg"][1:]
    if code in _OF_TAGS:
        return _of_a_tag(path, one["ctx"])
    if code == "unknown_field":
        detail = _unknown(model, path)
    elif code == "required":
        detail = f"the field {path[-1]!r} is required"
    return Place(code, detail, pointer(*path))


def _of_a_tag(path: Sequence[str | int], context: Mapping[str, Any]) -> Place:
    """A union's member is named by a field that is missing, or by a name that none has."""
    name = context["discriminator"].strip("'")
    where = pointer(*path, name)
    if "tag" not in context:
        return Place("required", f"the field {name!r} is required", where)
    known = context["expected_tags"].replace("'", "").split(", ")
    close = difflib.get_close_matches(context["tag"], known, n=1)
    guess = f"did you mean {close[0]!r}? There are" if close else "there are"
    return Place("unknown_kind", f"no {name} {context['tag']!r}; {guess} {', '.join(known)}", where)


def _real_path(loc: Sequence[str | int], sent: Any, *, keep_last: bool) -> list[str | int]:
    """Pydantic's location less the names of union members, which the client never wrote."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        inside = (isinstance(sent, dict) and part in sent) or (
            isinstance(sent, list) and isinstance(part, int) and part < len(sent)
        )
        if inside:
            sent = sent[part]
            path.append(part)
        elif keep_last and i == len(loc) - 1:
            path.append(part)
    return path


def _unknown(model: type[BaseModel], path: Sequence[str | int]) -> str:
    name = str(path[-1])
    known = _fields_at(model.model_json_schema(), path[:-1])
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"there is no field {name!r} here; did you mean {close[0]!r}?"
    return f"there is no field {name!r} here; there are {', '.join(known)}"


def _fields_at(schema: dict[str, Any], path: Sequence[str | int]) -> list[str]:
    """The fields that the JSON Schema knows at a path into a body."""
    nodes = _alternatives(schema, schema)
    for part in path:
        steps = [node.get("properties", {}).get(part) or node.get("items") for node in nodes]
        nodes = [node for step in steps if step for node in _alternatives(schema, step)]
    return [name for node in nodes for name in node.get("properties", {})]


def _alternatives(root: dict[str, Any], node: dict[str, Any]) -> list[dict[str, Any]]:
    """The node itself, or what it refers to or unites."""
    if "$ref" in node:
        return _alternatives(root, root["$defs"][node["$ref"].rpartition("/")[2]])
    united = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if "properties" in node or not united:
        return [node]
    return [found for one in united for found in _alternatives(root, one)]

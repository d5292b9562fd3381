"""Pydantic's errors → our own, each with a pointer into what the client sent."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from service.api.wording import missing_kind, unknown_field, unknown_kind, wrong_value
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
    code = _CODES.get(one["type"], one["type"])
    path = _real_path(one["loc"], sent, code)
    if code in _OF_TAGS:
        return _of_a_tag(model, path, one["ctx"], sent)
    if code == "unknown_field":
        detail = unknown_field(model, path, sent)
    elif code == "required":
        detail = f"the field {path[-1]!r} is required"
    else:
        detail = wrong_value(model, one, path, sent)
    return Place(code, detail, pointer(*path))


def _of_a_tag(
    model: type[BaseModel], path: Sequence[str | int], context: Mapping[str, Any], sent: Any
) -> Place:
    """A union's member is named by a field that is missing, or by a name that none has."""
    name = context["discriminator"].strip("'")
    where = pointer(*path, name)
    if "tag" not in context:
        return Place("required", missing_kind(model, name, path, sent), where)
    known = context["expected_tags"].replace("'", "").split(", ")
    return Place("unknown_kind", unknown_kind(name, context["tag"], known), where)


def _real_path(loc: Sequence[str | int], sent: Any, code: str) -> list[str | int]:
    """Pydantic's location less the names of union members, which the client never wrote.

    A member may be named like a field in it: then the location is read so that it leads to an
    object which has, or lacks, the field that is unknown or required.
    """
    if code not in _CODES.values():
        return _walked(loc, sent)[0]
    *above, last = loc
    for i in range(len(above) + 1):
        # Without the last of the names that may be a member's, or with all of them.
        tried = above if i == 0 else [*above[:-i], *above[len(above) - i + 1 :]]
        path, inside = _walked(tried, sent)
        if isinstance(inside, dict) and (last in inside) == (code == "unknown_field"):
            return [*path, last]
    return [*_walked(above, sent)[0], last]


def _walked(loc: Sequence[str | int], sent: Any) -> tuple[list[str | int], Any]:
    """The parts of the location that lead further into what was sent, and what is there."""
    path: list[str | int] = []
    for part in loc:
        keyed = isinstance(sent, dict) and part in sent
        if keyed or (isinstance(sent, list) and isinstance(part, int) and part < len(sent)):
            sent = sent[part]
            path.append(part)
    return path, sent

"""What is said of a mistake in a body, so that whoever made it can mend it."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from service.api.object_shapes import ObjectShape, Path, of_the_kind, shapes_at, value_at
from service.schemas.batches import PATH_PATTERN
from service.schemas.common import CURSOR_PATTERN, DELIMITER_PATTERN, KEY_PATTERN, NO_NUL
from service.schemas.webhooks import URL_PATTERN

# By their names in other programs.
_ALSO_CALLED = {
    "learning_rate": "lr",
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "cosine_annealing": "cosine",
    "neural_network": "mlp",
}
_OBJECTS = frozenset({"dict_type", "model_type", "model_attributes_type"})
_LISTS = frozenset({"list_type", "tuple_type"})
_LENGTHS = {"too_short": "at least {min_length}", "too_long": "at most {max_length}"}
_SCALARS = {
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "string_type": "should be a text",
}
_BOUNDS = {
    "greater_than": "should be above {gt}",
    "greater_than_equal": "should be {ge} or more",
    "less_than": "should be below {lt}",
    "less_than_equal": "should be {le} or less",
}
_PATTERNS = {
    NO_NUL: "should have no NUL in it",
    KEY_PATTERN: "should have neither [ nor ] in it",
    PATH_PATTERN: "should be names with dots between them, like optimizer.lr",
    URL_PATTERN: "should be an http or https URL in ASCII, like https://example.org/fits",
    DELIMITER_PATTERN: "should be one character, like ; or |",
    CURSOR_PATTERN: "should be the next_cursor of the page before",
}
# Texts that are numbers in quotes.
_NUMBERS = {
    "int_type": re.compile(r"-?(0|[1-9]\d*)"),
    "float_type": re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?"),
}
# A longer one is no example.
_LONGEST_EXAMPLE = 60
# No name is longer, and how near one is takes the longer the longer it is.
_LONGEST_NAME = 60
_MOST_FIELDS = 12
_PREFIXES = ("Value error, ", "Input ", "String ")


def wrong_value(model: type[BaseModel], error: Mapping[str, Any], path: Path, sent: Any) -> str:
    """Why the value at the path cannot be, and how it is written."""
    kind, value, context = error["type"], value_at(sent, path), error.get("ctx", {})
    if kind in _OBJECTS:
        return f"should be an object{_example(shapes_at(model, path, sent), value)}"
    if kind in _LISTS:
        return f"should be a list{_as_list(value)}"
    if kind in _LENGTHS:
        bound = _LENGTHS[kind].format(**context)
        return f"needs {bound} {_plural(bound)}; it has {context['actual_length']}"
    if kind in _SCALARS:
        unquoted = isinstance(value, str) and kind in _NUMBERS and _is_number(kind, value)
        return f"{_SCALARS[kind]}{f', without quotes: {value}' if unquoted else ''}"
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**{name: _short(bound) for name, bound in context.items()})
    return _PATTERNS.get(context.get("pattern", "")) or _in_our_words(error["msg"])


def _in_our_words(said: str) -> str:
    for prefix in _PREFIXES:
        said = said.removeprefix(prefix)
    return said[0].lower() + said[1:]


def unknown_field(model: type[BaseModel], path: Path, sent: Any) -> str:
    """Who else takes a field of that name, or which fields there are."""
    name = _shortened(str(path[-1]))
    every = shapes_at(model, path[:-1], sent)
    own = of_the_kind(every, value_at(sent, path[:-1]))
    known = _unique(field for one in own for field in one.fields)
    others = [one for one in every if one not in own]
    close = _closest(name, known)
    of_others = _closest(name, _unique(field for one in others for field in one.fields))
    if of_others == name or (of_others and not close):
        return _of_another_kind(name, of_others, own, others)
    if close:
        return f"there is no field {name!r} here; did you mean {close!r}?"
    meant = _ALSO_CALLED.get(name, name)
    above = [field for one in own for field, below in one.below.items() if meant in below]
    if len(above) == 1:
        return f"there is no field {name!r} here; did you mean {meant!r} in {above[0]!r}?"
    return f"there is no field {name!r} here; there are {', '.join(known)}"


def unknown_kind(tag: str, said: str, known: Sequence[str]) -> str:
    """Which kinds there are."""
    said = _shortened(said)
    close = _closest(said, known)
    guess = f"did you mean {close!r}? There are" if close else "there are"
    return f"no {tag} {said!r}; {guess} {', '.join(known)}"


def missing_kind(model: type[BaseModel], tag: str, path: Path, sent: Any) -> str:
    """Which kinds there are, and which of them take what was sent."""
    every = [one for one in shapes_at(model, path, sent) if one.kind is not None]
    given = set(value_at(sent, path) or ())
    kinds = [one.kind for one in every if given and given <= {*one.fields}]
    meant = [kind for kind in kinds if kind is not None] or [str(one.kind) for one in every]
    return f"the field {tag!r} is required: {'one of ' * (len(meant) > 1)}{', '.join(meant)}"


def _of_another_kind(
    name: str, meant: str, own: Sequence[ObjectShape], others: Sequence[ObjectShape]
) -> str:
    kinds = [str(one.kind) for one in others if meant in one.fields]
    takes = f"{', '.join(kinds)} {'takes' if len(kinds) == 1 else 'take'}"
    theirs = f"{takes} {'it' if meant == name else repr(meant)}"
    kind = own[0].kind if len(own) == 1 else None
    fields = ", ".join(_unique(field for one in own for field in one.fields))
    here = f"{kind} has no field {name!r}" if kind else f"there is no field {name!r} here"
    return f"{here}: {theirs}; {f'{kind} has' if kind else 'there are'} {fields}"


def _example(objects: Sequence[ObjectShape], value: Any) -> str:
    """An object as it is written: of the kind that was sent as a text, if it was."""
    kinds = _unique(one.kind for one in objects if one.kind is not None)
    close = _closest(value, kinds) if isinstance(value, str) else None
    if close:
        return f': write {{"kind": "{close}"}}'
    if kinds:
        return f', like {{"kind": "{kinds[0]}"}}; the kinds are {", ".join(kinds)}'
    fields = _unique(field for one in objects for field in one.fields)
    return f"; its fields are {', '.join(fields)}" if 0 < len(fields) <= _MOST_FIELDS else ""


def _as_list(value: Any) -> str:
    if not isinstance(value, str | int | float):
        return ""
    example = json.dumps([value], ensure_ascii=False)
    return f": write {example}" if len(example) <= _LONGEST_EXAMPLE else ""


def _short(bound: Any) -> Any:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _plural(bound: str) -> str:
    return "item" if bound.endswith(" 1") else "items"


def _is_number(kind: str, text: str) -> bool:
    return len(text) <= _LONGEST_EXAMPLE and _NUMBERS[kind].fullmatch(text) is not None


def _closest(name: str, known: Sequence[str]) -> str | None:
    """The known name that is meant, in letters of whichever case; None where none is near."""
    for exact in (name, _ALSO_CALLED.get(name)):
        if exact in known:
            return exact
    if len(name) > _LONGEST_NAME:
        return None
    folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[close[0]] if close else None


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))

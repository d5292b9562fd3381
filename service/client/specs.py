"""A command line's options → the body of a fit."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from service.client.http import Refused


def merged(options: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The body that dotted options make, those that are None left out.

    `settings` are texts like `optimizer.momentum=0.9`, whose values are read as JSON where they
    are JSON, and which win.
    """
    body: dict[str, Any] = {}
    for path, value in options.items():
        if value is not None:
            _set(body, path, value)
    for text in settings:
        path, equals, value = text.partition("=")
        if not equals:
            raise Refused([f"--set {text}: write it as path=value, like optimizer.momentum=0.9"])
        _set(body, path, parsed(value))
    return body


def parsed(text: str) -> Any:
    """The text as JSON, or as it stands where it is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def listed(text: str | None) -> list[str] | None:
    """The parts between commas; None of none."""
    return None if text is None else [part.strip() for part in text.split(",")]


def numbers(text: str | None) -> list[int] | None:
    """Whole numbers between commas; raises Refused for anything else."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise Refused([f"{text!r}: whole numbers are wanted, like 16,16"]) from None


def grid(given: Sequence[str]) -> dict[str, list[Any]]:
    """Axes from texts like `optimizer.lr=0.1,0.01`."""
    axes: dict[str, list[Any]] = {}
    for text in given:
        path, equals, values = text.partition("=")
        if not equals or not values:
            raise Refused([f"--grid {text}: write it as path=value,value"])
        axes[path] = [parsed(value) for value in values.split(",")]
    return axes


def space(given: Sequence[str]) -> dict[str, Any]:
    """Distributions from texts like `optimizer.lr=log_uniform:1e-4:1` or `seed=1,2,3`."""
    found: dict[str, Any] = {}
    for text in given:
        path, equals, value = text.partition("=")
        if not equals or not value:
            raise Refused([f"--random {text}: write it as path=log_uniform:low:high or path=a,b,c"])
        kind, *bounds = value.split(":")
        found[path] = (
            {kind: [parsed(bound) for bound in bounds]}
            if bounds
            else [parsed(one) for one in value.split(",")]
        )
    return found


def _set(body: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for name in above:
        inside = body.setdefault(name, {})
        if not isinstance(inside, dict):
            raise Refused([f"{path}: {name} is set already, and is no object"])
        body = inside
    body[last] = value

"""A command line's options → the body of a fit or a sweep."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from service.client.errors import WrongUsage

# The kind that is meant where only its arguments are given; the first one that one of them suits.
_KINDS_BY_ARGUMENT: Mapping[str, Mapping[str, frozenset[str]]] = {
    "model": {
        "mlp": frozenset({"hidden", "activation", "dropout", "batch_norm", "output"}),
        "polynomial": frozenset({"degree", "interactions"}),
        "linear": frozenset(),
    },
    "optimizer": {"sgd": frozenset()},
}
# What each distribution is told by.
DRAWS: Mapping[str, str] = {
    "uniform": "low:high",
    "log_uniform": "low:high",
    "normal": "mean:std",
    "integers": "low:high",
}
_DRAW = re.compile(r"([a-z_]+):(.*)", re.DOTALL)
_N_BOUNDS = 2
_LENGTH = frozenset({"epochs", "steps"})
_EPOCHS = 100


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
        path, value = _parted("--set", text, "optimizer.momentum=0.9")
        _set(body, path, _parsed_whole(f"--set {text}", value))
    return body


def completed(body: Mapping[str, Any], axes: Sequence[str] = ()) -> dict[str, Any]:
    """The body with what is meant where it says nothing: 100 epochs, the kinds of its parts.

    `axes` are the paths that a sweep varies.
    """
    whole = dict(body)
    for part, kinds in _KINDS_BY_ARGUMENT.items():
        given = whole.get(part, {})
        if not isinstance(given, Mapping):
            continue
        swept = {path.removeprefix(f"{part}.") for path in axes if path.startswith(f"{part}.")}
        arguments = {*given, *swept}
        # Without arguments it is the service that knows what is meant.
        if arguments and "kind" not in arguments and part not in axes:
            kind = next(kind for kind, own in kinds.items() if arguments & own or not own)
            whole[part] = {"kind": kind} | dict(given)
    if not _LENGTH & {*whole, *axes}:
        whole["epochs"] = _EPOCHS
    return whole


def parsed(text: str) -> Any:
    """The text as JSON, or as it stands where it is none; NaN and the infinities are none."""
    try:
        return json.loads(text, parse_constant=_no_json)
    except ValueError:
        return text


def listed(option: str, text: str | None) -> list[str] | None:
    """The parts between commas, or of a JSON list; None of none. Raises WrongUsage."""
    if text is None:
        return None
    whole = parsed(text)
    parts = whole if isinstance(whole, list) else [part.strip() for part in text.split(",")]
    if not parts or not all(isinstance(part, str) and part for part in parts):
        raise WrongUsage(f'{option} {text}: names are wanted, like x,z or ["a,b", "c"]')
    return parts


def numbers(option: str, text: str | None) -> list[int] | None:
    """Whole numbers between commas; raises WrongUsage for anything else."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.strip("[]").split(",")]
    except ValueError:
        raise WrongUsage(f"{option} {text}: whole numbers are wanted, like 16,16") from None


def finite(option: str, number: float | None) -> float | None:
    """The number; raises WrongUsage where JSON has no word for it."""
    if number is not None and not math.isfinite(number):
        raise WrongUsage(f"{option} {number}: a finite number is wanted")
    return number


def grid(given: Sequence[str]) -> dict[str, list[Any]]:
    """Axes from texts like `optimizer.lr=0.1,0.01` or `model.hidden=[4,4],[8,8]`."""
    return dict(_axes("--grid", given, "optimizer.lr=0.1,0.01"))


def space(given: Sequence[str]) -> dict[str, Any]:
    """Distributions from texts like `optimizer.lr=log_uniform:1e-4:1` or `seed=1,2,3`."""
    found: dict[str, Any] = {}
    for text in given:
        path, value = _parted("--random", text, "optimizer.lr=log_uniform:1e-4:1 or seed=1,2,3")
        draw = _DRAW.fullmatch(value)
        found |= {path: _draw(text, *draw.groups())} if draw else dict(_axes("--random", [text]))
    if len(found) < len(given):
        raise WrongUsage("--random: each path is given once")
    return found


def _draw(text: str, kind: str, bounds: str) -> dict[str, list[Any]]:
    if kind not in DRAWS:
        known = ", ".join(f"{name}:{told}" for name, told in DRAWS.items())
        raise WrongUsage(f"--random {text}: there is no {kind!r}; there are {known}")
    values = [parsed(bound) for bound in bounds.split(":")]
    if len(values) != _N_BOUNDS or not all(isinstance(value, int | float) for value in values):
        raise WrongUsage(f"--random {text}: write it as {kind}:{DRAWS[kind]}, with two numbers")
    return {kind: values}


def _axes(
    option: str, given: Sequence[str], example: str = "seed=1,2,3"
) -> Iterator[tuple[str, list[Any]]]:
    seen = set()
    for text in given:
        path, values = _parted(option, text, example)
        if path in seen:
            raise WrongUsage(f"{option} {text}: {path} has its values already")
        seen.add(path)
        yield path, list(_values(f"{option} {text}", values))


def _values(said: str, text: str) -> Iterator[Any]:
    """The values between commas, each JSON or a word: commas within JSON part nothing."""
    decoder = json.JSONDecoder(parse_constant=_no_json)
    rest: str | None = text
    while rest is not None:
        rest = rest.strip()
        try:
            value, end = decoder.raw_decode(rest)
            after = rest[end:].lstrip()
        except ValueError:
            after = None
        # 1st is no number with something behind it, but a word.
        if after is None or (after and not after.startswith(",")):
            word, comma, rest = rest.partition(",")
            yield _parsed_whole(said, word.strip())
            rest = rest if comma else None
        else:
            yield value
            rest = after[1:] if after else None


def _parsed_whole(said: str, text: str) -> Any:
    """As `parsed`; raises WrongUsage for nothing, and for what begins as JSON and is none."""
    value = parsed(text)
    if value == text and (not text or text[0] in '[{"'):
        raise WrongUsage(f"{said}: {text!r} is no JSON" if text else f"{said}: a value is missing")
    return value


def _parted(option: str, text: str, example: str) -> tuple[str, str]:
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not all(path.split(".")):
        raise WrongUsage(f"{option} {text}: write it as path=value, like {example}")
    return path, value


def _set(body: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for name in above:
        inside = body.setdefault(name, {})
        if not isinstance(inside, dict):
            raise WrongUsage(f"{path}: {name} is set already, and is no object")
        body = inside
    body[last] = value


def _no_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")

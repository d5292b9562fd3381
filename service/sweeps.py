"""A batch's request → the bodies of its fits, and where in the request each mistake stands."""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

import numpy as np
import orjson

from service.errors import InvalidInput, Place
from service.pointers import pointer, unpointed
from service.schemas.batches import (
    MOST_FITS,
    BatchRequest,
    Choice,
    Integers,
    LogUniform,
    RandomSweep,
)
from service.schemas.fits import FitRequest
from service.schemas.generators import Normal, Uniform
from service.spec_paths import Parts, parts_of, put
from service.tables.draws import Draws
from service.tables.portable_math import exp, log


class Bodies(Protocol):
    """The bodies of a batch's fits, as if each were posted alone.

    `varied` are the paths at which they were made to differ; None where nobody said so.
    """

    @property
    def varied(self) -> list[str] | None:
        """The paths, dotted."""

    def __len__(self) -> int:
        """How many there are."""

    def __iter__(self) -> Iterator[Any]:
        """Each body, in its order; what they share is shared, so that nothing of it may change."""

    def placed(self, i: int, place: Place) -> Place:
        """A place in the body of fit i, as a place in what the client sent."""


def bodies_of(request: BatchRequest) -> Bodies:
    """The bodies that the request describes; raises InvalidInput for paths that lead nowhere."""
    if request.fits is not None:
        return Listed(request.fits)
    base = request.base or {}
    if request.grid is not None:
        return _grid(base, request.grid)
    if request.random is None:
        raise AssertionError("the schema lets one form through")
    return _drawn(base, request.random)


@dataclass(frozen=True)
class Listed:
    """Bodies that stand in the request one by one."""

    bodies: Sequence[Any]
    varied: None = None

    def __len__(self) -> int:
        return len(self.bodies)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.bodies)

    def placed(self, i: int, place: Place) -> Place:
        """Below `/fits/i`."""
        return replace(place, pointer=pointer("fits", i) + (place.pointer or ""))


@dataclass(frozen=True)
class Lines(Listed):
    """Bodies that came as lines of NDJSON."""

    def placed(self, i: int, place: Place) -> Place:
        """The pointer is into the line; `row` counts the lines that hold a fit, from 0."""
        return replace(place, row=i)


def read_lines(content: bytes) -> Lines:
    """The bodies of NDJSON; blank lines are none.

    Raises InvalidInput with the row of a line that is no JSON, and where there is none or are too
    many of them.
    """
    bodies: list[Any] = []
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        if len(bodies) == MOST_FITS:
            _refuse("too_many_fits", f"a batch has at most {MOST_FITS} fits", row=MOST_FITS)
        try:
            bodies.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            _refuse("malformed_line", f"row {len(bodies)} is no JSON: {error}", row=len(bodies))
    if not bodies:
        _refuse("no_fits", "there is no line with a fit")
    return Lines(bodies)


@dataclass(frozen=True)
class _Axis:
    """One path of a sweep, and the values that it takes; fit i has number (i // stride) % n."""

    name: str
    parts: Parts
    values: Sequence[Any]
    stride: int = 1

    def index(self, i: int) -> int:
        """Which of the values fit i has."""
        return i // self.stride % len(self.values)


@dataclass(frozen=True)
class _Sweep:
    """Bodies that are one base, but for the axes' values."""

    base: Mapping[str, Any]
    axes: Sequence[_Axis]
    n: int
    # Where the axes stand in the request, and whether a value has a place of its own there.
    above: tuple[str, ...]
    listed: bool

    @property
    def varied(self) -> list[str]:
        return [axis.name for axis in self.axes]

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for i in range(self.n):
            body = dict(self.base)
            for axis in self.axes:
                put(body, axis.parts, axis.values[axis.index(i)])
            yield body

    def placed(self, i: int, place: Place) -> Place:
        """Below the axis that it concerns, or else below `/base`."""
        found = unpointed(place.pointer or "")
        for axis in self.axes:
            parts = tuple(map(str, axis.parts))
            n = min(len(parts), len(found))
            if n and parts[:n] == found[:n]:
                return replace(place, pointer=self._below(axis, i, place, found[len(parts) :]))
        return replace(place, pointer=pointer("base", *found))

    def _below(self, axis: _Axis, i: int, place: Place, rest: tuple[str, ...]) -> str:
        index = (axis.index(i),) if self.listed and place.code != "unknown_field" else ()
        return pointer(*self.above, axis.name, *index, *(rest if self.listed else ()))


def _grid(base: Mapping[str, Any], grid: Mapping[str, Sequence[Any]]) -> _Sweep:
    n = math.prod(map(len, grid.values()))
    if n > MOST_FITS:
        detail = f"the grid has {n} fits, and a batch at most {MOST_FITS}"
        _refuse("too_many_fits", detail, pointer("grid"))
    whole = _with_defaults(base, grid)
    axes = []
    stride = n
    for name, parts in _paths(whole, grid, ("grid",)).items():
        stride //= len(grid[name])
        axes.append(_Axis(name, parts, grid[name], stride))
    return _Sweep(whole, axes, n, ("grid",), listed=True)


def _drawn(base: Mapping[str, Any], sweep: RandomSweep) -> _Sweep:
    whole = _with_defaults(base, sweep.space)
    above = ("random", "space")
    axes = [
        _Axis(name, parts, _draws(sweep, name))
        for name, parts in _paths(whole, sweep.space, above).items()
    ]
    return _Sweep(whole, axes, sweep.n, above, listed=False)


def _draws(sweep: RandomSweep, name: str) -> list[Any]:
    """A value a fit. Each path has draws of its own, whatever else varies beside it."""
    digest = hashlib.sha256(orjson.dumps([sweep.seed, name])).digest()
    draws = Draws(int.from_bytes(digest[:4], "big"), np.float64)
    n, space = sweep.n, sweep.space[name]
    if isinstance(space, Uniform | Normal):
        return [*draws.draw(space, n).tolist()]
    if isinstance(space, LogUniform):
        low, high = space.log_uniform
        ends = log(np.array([low, high], np.float64))
        return [*np.clip(exp(draws.uniform(n, *ends)), low, high).tolist()]
    if isinstance(space, Integers):
        low, high = space.integers
        return [low + place for place in _places(draws, n, high - low + 1)]
    values = space.choice if isinstance(space, Choice) else space
    return [values[place] for place in _places(draws, n, len(values))]


def _places(draws: Draws, n: int, n_places: int) -> list[int]:
    """n of 0 … n_places − 1, equally likely."""
    # A product may be rounded up to the end.
    return [min(int(u * n_places), n_places - 1) for u in draws.uniform(n, 0, 1).tolist()]


def _with_defaults(base: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The base, with the default kind of each field that it lacks and that a path leads into."""
    whole = dict(base)
    for name in names:
        first, dot, _ = name.partition(".")
        if dot and first not in whole:
            field = FitRequest.model_fields.get(first)
            default = None if field is None else field.get_default()
            # Its kind alone: what the other fields may be depends on the kind that a path sets.
            kind = getattr(default, "kind", None)
            whole[first] = {} if kind is None else {"kind": kind}
    return whole


def _paths(
    whole: Mapping[str, Any], names: Mapping[str, Any], above: tuple[str, ...]
) -> dict[str, Parts]:
    """The way into the base that each name means; raises InvalidInput where there is none."""
    paths: dict[str, Parts] = {}
    for name in names:
        parts = parts_of(whole, name)
        if parts is None:
            detail = f"{name!r} leads into what is no object in the base"
            _refuse("unknown_field", detail, pointer(*above, name))
        paths[name] = parts
    for (one, its), (other, others) in itertools.permutations(paths.items(), 2):
        if others[: len(its)] == its:
            detail = f"{other!r} lies within {one!r}, which replaces it"
            _refuse("overlapping_paths", detail, pointer(*above, other))
    return paths


def _refuse(code: str, detail: str, where: str | None = None, row: int | None = None) -> NoReturn:
    raise InvalidInput(detail, places=[Place(code, detail, where, row)])

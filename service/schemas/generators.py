"""Generators of drawn tables, as a client describes them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from service.schemas.common import Matrix, Schema

_MOST_LISTED = 1_000
LARGEST = 1e15

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST)]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
Coefficients = Annotated[
    Annotated[list[Number], Field(fail_fast=True)], Field(min_length=1, max_length=_MOST_LISTED)
]


class Uniform(Schema):
    """Every number from a up to b equally likely."""

    uniform: Pair = Field(examples=[[-1, 1]])

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.uniform[0] > self.uniform[1]:
            raise PydanticCustomError("descending", "uniform is [a, b] with a no larger than b")
        return self


class Normal(Schema):
    """The normal distribution of this mean and standard deviation."""

    normal: Pair = Field(examples=[[0, 1]])

    @model_validator(mode="after")
    def _wide(self) -> Self:
        if self.normal[1] < 0:
            raise PydanticCustomError("negative_std", "normal is [mean, std] with std 0 or more")
        return self


def _distribution(value: Any) -> str | None:
    """Tell distributions apart by their one field, so that errors speak of one alone."""
    for name, kind in (("uniform", Uniform), ("normal", Normal)):
        if isinstance(value, kind) or (isinstance(value, dict) and name in value):
            return name
    return None


def _noise(value: Any) -> str | None:
    return _distribution(value) if isinstance(value, dict | Schema) else "std"


_WRITTEN = '{"uniform": [a, b]} or {"normal": [mean, std]}'
Distribution = Annotated[
    Annotated[Uniform, Tag("uniform")] | Annotated[Normal, Tag("normal")],
    Discriminator(
        _distribution,
        custom_error_type="unknown_distribution",
        custom_error_message=f"should be {_WRITTEN}",
    ),
]
Noise = Annotated[
    Annotated[NonNegative, Tag("std")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[Normal, Tag("normal")],
    Discriminator(
        _noise,
        custom_error_type="unknown_distribution",
        custom_error_message=f"should be a standard deviation, {_WRITTEN}",
    ),
]


class Drawn(Schema):
    """What every generator takes: rows, a seed, and noise.

    A number is the standard deviation of normal noise around 0.
    """

    n: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    noise: Noise = 0.0

    @property
    def n_features(self) -> int:
        """The columns before the target."""
        return 1


class DrawnPoints(Drawn):
    """Points of a plane, each of a class. Noise moves the points."""

    @property
    def n_features(self) -> int:
        """The columns before the target."""
        return 2


class LinearTable(Drawn):
    """y = intercept + Σ coef·x + noise; `x`, or `x1`, `x2`, … where there are several."""

    kind: Literal["linear"]
    x: Distribution = Normal(normal=[0.0, 1.0])
    coef: Coefficients = [1.0]
    intercept: Number = 0.0

    @property
    def n_features(self) -> int:
        """The columns before the target."""
        return len(self.coef)


class PolynomialTable(Drawn):
    """y = intercept + coef[0]·x + coef[1]·x² + … + noise."""

    kind: Literal["polynomial"]
    x: Distribution = Uniform(uniform=[-1.0, 1.0])
    coef: Coefficients = [1.0, 1.0]
    intercept: Number = 0.0


class SineTable(Drawn):
    """y = amplitude·sin(2π·frequency·x + phase) + noise."""

    kind: Literal["sine"]
    x: Distribution = Uniform(uniform=[0.0, 1.0])
    amplitude: Number = 1.0
    frequency: Annotated[float, Field(ge=-1e6, le=1e6)] = 1.0
    phase: Annotated[float, Field(ge=-1e6, le=1e6)] = 0.0


class StepTable(Drawn):
    """y = high from the threshold on, low below it, + noise."""

    kind: Literal["step"]
    x: Distribution = Uniform(uniform=[-1.0, 1.0])
    threshold: Number = 0.0
    low: Number = 0.0
    high: Number = 1.0


class XorTable(DrawnPoints):
    """Points in [-1, 1]²; class 1 where their signs differ."""

    kind: Literal["xor"]


class MoonsTable(DrawnPoints):
    """Two half circles that reach into each other."""

    kind: Literal["moons"]


class CirclesTable(DrawnPoints):
    """A circle, class 0, around a smaller one, class 1."""

    kind: Literal["circles"]
    factor: Annotated[float, Field(ge=0, lt=1)] = 0.8


class SpiralsTable(DrawnPoints):
    """Arms that wind out from the middle, one a class."""

    kind: Literal["spirals"]
    classes: Annotated[int, Field(ge=1, le=_MOST_LISTED)] = 2
    turns: Annotated[float, Field(gt=0, le=1000)] = 1.0


def _centers(value: Any) -> str:
    return "points" if isinstance(value, list) else "count"


class BlobsTable(DrawnPoints):
    """Normal clouds around centers, one a class. `noise` comes on top of their `std`."""

    kind: Literal["blobs"]
    centers: Annotated[
        Annotated[Annotated[int, Field(ge=1, le=_MOST_LISTED)], Tag("count")]
        | Annotated[Annotated[Matrix, Field(min_length=1, max_length=_MOST_LISTED)], Tag("points")],
        Discriminator(_centers),
    ] = Field(default=3, description="How many to draw, or the points themselves.")
    dimensions: Annotated[int, Field(ge=1, le=_MOST_LISTED)] = 2
    box: Pair = Field(default=[-10.0, 10.0], description="Where drawn centers lie.")
    std: NonNegative = 1.0

    @property
    def n_features(self) -> int:
        """The columns before the target."""
        return self.dimensions

    @model_validator(mode="after")
    def _of_one_width(self) -> Self:
        if isinstance(self.centers, list):
            if any(len(center) != self.dimensions for center in self.centers):
                raise PydanticCustomError("wrong_width", "every center needs `dimensions` numbers")
            if any(abs(place) > LARGEST for center in self.centers for place in center):
                raise PydanticCustomError("too_far", "a center is farther than 1e15 away")
        if self.box[0] > self.box[1]:
            raise PydanticCustomError("descending", "box is [a, b] with a no larger than b")
        return self


Generator = Annotated[
    LinearTable
    | PolynomialTable
    | SineTable
    | StepTable
    | XorTable
    | MoonsTable
    | CirclesTable
    | SpiralsTable
    | BlobsTable,
    Field(discriminator="kind"),
]

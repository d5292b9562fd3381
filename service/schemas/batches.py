"""Many fits in one call, as a client sends them."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from service.schemas.common import Metadata, Name, Schema, Seed, Tags
from service.schemas.fits import FitRequest
from service.schemas.generators import LARGEST, Normal, Uniform

MOST_FITS = 10_000
MOST_PATHS = 50

Mode = Literal["min", "max"]
# Which way each number is the better.
_DIRECTIONS: Mapping[str, Mode] = {
    "loss": "min", "mse": "min", "rmse": "min", "mae": "min", "r2": "max", "max_error": "min",
    "accuracy": "max", "log_loss": "min", "precision": "max", "recall": "max", "f1": "max",
    "roc_auc": "max",
}  # fmt: skip
METRICS: Mapping[str, Mode] = {
    "final_loss": "min",
    **{
        f"{rows}.{name}": mode
        for rows in ("train", "validation")
        for name, mode in _DIRECTIONS.items()
    },
}


def _known_metric(name: str) -> str:
    # As a fit's own answer has it.
    short = name.removeprefix("metrics.")
    if short not in METRICS:
        known = ", ".join(METRICS)
        close = [one for one in METRICS if one.endswith(f".{short.lower()}")]
        guess = f"did you mean {' or '.join(close)}? There" if close else "there"
        raise PydanticCustomError(
            "unknown_metric", "there is no metric {name}; {guess} are {known}",
            {"name": repr(name), "guess": guess, "known": known},
        )  # fmt: skip
    return short


Metric = Annotated[
    str,
    AfterValidator(_known_metric),
    WithJsonSchema({"type": "string", "enum": list(METRICS), "examples": ["validation.loss"]}),
]


class Select(Schema):
    """Which fit is the best: the one whose metric is least or largest, as suits it by itself."""

    metric: Metric = "final_loss"
    mode: Mode | None = None

    @property
    def direction(self) -> Mode:
        """The mode that is meant."""
        return self.mode or METRICS[self.metric]


class LogUniform(Schema):
    """Every order of magnitude from a to b, both above 0, equally likely."""

    log_uniform: Annotated[
        list[Annotated[float, Field(gt=0, le=LARGEST)]],
        Field(min_length=2, max_length=2, examples=[[1e-4, 1]]),
    ]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.log_uniform[0] > self.log_uniform[1]:
            raise PydanticCustomError("descending", "log_uniform is [a, b] with a no larger than b")
        return self


_Whole = Annotated[int, Field(ge=-(10**15), le=10**15)]


class Integers(Schema):
    """Every whole number from a to b, both included, equally likely."""

    integers: Annotated[list[_Whole], Field(min_length=2, max_length=2, examples=[[8, 64]])]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.integers[0] > self.integers[1]:
            raise PydanticCustomError("descending", "integers is [a, b] with a no larger than b")
        return self


class Choice(Schema):
    """Each of the values equally likely; a list alone says the same."""

    choice: Annotated[list[Any], Field(min_length=1)]


_DRAWS = {
    "uniform": Uniform, "log_uniform": LogUniform, "normal": Normal, "integers": Integers,
    "choice": Choice,
}  # fmt: skip


def _kind_of_draw(value: Any) -> str | None:
    """Tell distributions apart by their one field, so that errors speak of one alone."""
    if isinstance(value, list):
        return "list"
    for name, kind in _DRAWS.items():
        if isinstance(value, kind) or (isinstance(value, dict) and name in value):
            return name
    return None


Draw = Annotated[
    Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("log_uniform")]
    | Annotated[Normal, Tag("normal")]
    | Annotated[Integers, Tag("integers")]
    | Annotated[Choice, Tag("choice")]
    | Annotated[Annotated[list[Any], Field(min_length=1)], Tag("list")],
    Discriminator(
        _kind_of_draw,
        custom_error_type="unknown_draw",
        custom_error_message=(
            'should be a list of values, {"uniform": [a, b]}, {"log_uniform": [a, b]}, '
            '{"normal": [mean, std]}, {"integers": [a, b]} or {"choice": [values]}'
        ),
    ),
]

# Where in a fit's body: `optimizer.lr`.
PATH_PATTERN = r"^[^.]+(\.[^.]+)*$"
Path = Annotated[str, StringConstraints(max_length=500, pattern=PATH_PATTERN)]
Fits = Annotated[int, Field(ge=1, le=MOST_FITS)]


class RandomSweep(Schema):
    """`n` fits, each with a draw for every path in `space`; the same draws on every machine."""

    n: Fits
    seed: Annotated[Seed, Field(lt=2**32)] = 0
    space: Annotated[dict[Path, Draw], Field(min_length=1, max_length=MOST_PATHS)] = Field(
        examples=[{"optimizer.lr": {"log_uniform": [1e-4, 1]}}]
    )


class _OneByOne:
    """A fit's body for the document; whoever takes it in looks at it with what others share."""

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, describe: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return describe(FitRequest.__pydantic_core_schema__)


# A fit's body is looked at once its sweep has made it whole.
Body = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {"type": "object", "description": "A fit's body, less what the sweep puts in its place."}
    ),
]


class BatchRequest(Schema):
    """Fits in one of three forms: `fits`, or `base` with a `grid` or with `random` draws.

    A grid has a fit for each combination of its lists, the last path's values changing fastest.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["fits"]},
                {"required": ["base", "grid"]},
                {"required": ["base", "random"]},
            ]
        }
    )

    fits: (
        Annotated[list[Annotated[Any, _OneByOne()]], Field(min_length=1, max_length=MOST_FITS)]
        | None
    ) = None
    base: Body | None = None
    grid: (
        Annotated[
            dict[Path, Annotated[list[Any], Field(min_length=1)]],
            Field(min_length=1, max_length=MOST_PATHS),
        ]
        | None
    ) = Field(default=None, examples=[{"optimizer.lr": [0.01, 0.1], "seed": [0, 1, 2]}])
    random: RandomSweep | None = None
    select: Select = Select()
    name: Name | None = None
    tags: Tags = []
    metadata: Metadata = {}

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [form for form in ("fits", "grid", "random") if getattr(self, form) is not None]
        if len(given) != 1 or (self.base is None) != (given == ["fits"]):
            raise PydanticCustomError(
                "one_form", "give the fits in one form: fits, base and grid, or base and random"
            )
        return self

"""What every schema of the contract shares."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

MOST_TAGS = 50
MOST_METADATA = 50


class Schema(BaseModel):
    """Strict and frozen: an unknown field, a number in quotes, NaN and infinity are refused."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, ser_json_inf_nan="null"
    )


# One bad value is reported a list, so that a million bad ones do not take seconds to describe.
Vector = Annotated[list[float], Field(fail_fast=True)]
Matrix = Annotated[list[Vector], Field(fail_fast=True)]

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
# Whole numbers are kept in 64 bits.
Count = Annotated[int, Field(ge=1, lt=2**63)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
# PostgreSQL keeps no NUL in a text.
NO_NUL = r"^[^\x00]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)]
Id = Annotated[str, StringConstraints(max_length=100, pattern=NO_NUL)]
# Where a page of a list ended: the id of what stood last.
CURSOR_PATTERN = r"^[a-z]+_[0-9A-HJKMNP-TV-Z]{26}$"
Tags = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=100)]],
    Field(max_length=MOST_TAGS),
]
# A key stands in brackets where lists are filtered by it: `?metadata[key]=value`.
KEY_PATTERN = r"^[^\[\]]+$"
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=KEY_PATTERN)],
        Annotated[str, StringConstraints(max_length=500)],
    ],
    Field(max_length=MOST_METADATA),
    # Pydantic's own schema would leave keys of other patterns open.
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"minLength": 1, "maxLength": 100, "pattern": KEY_PATTERN},
            "additionalProperties": {"type": "string", "maxLength": 500},
            "maxProperties": MOST_METADATA,
            "examples": [{"course": "ml-101"}],
        }
    ),
]
# What may stand between the fields of a CSV.
DELIMITER_PATTERN = r"^[!-~ \t]$"
FitStatus = Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})

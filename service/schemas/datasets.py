"""Datasets as a client sends them in JSON."""

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from service.schemas.common import Metadata, Name, Schema, Tags
from service.schemas.generators import Generator

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=200)]

_CELL = {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}
# The cells are looked at by whoever reads the table: it can tell a million of them in
# milliseconds, and name the row and column of each that is wrong.
Cells = Annotated[
    list[Any], Field(min_length=1), WithJsonSchema({"type": "array", "items": _CELL, "minItems": 1})
]
Row = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "additionalProperties": _CELL, "minProperties": 1}),
]


_FORMS = ("columns", "rows", "generator")


class DatasetRequest(Schema):
    """A table in one of three forms.

    `columns`: a list for every column, of a number or a text a row. `rows`: an object for every
    row, all with the same names. `generator`: numbers drawn the same on every machine.
    """

    name: Name | None = None
    columns: Annotated[dict[ColumnName, Cells], Field(min_length=1)] | None = Field(
        default=None, examples=[{"x": [-1.0, 0.0, 1.0], "y": [1.1, 2.9, 5.2]}]
    )
    rows: Annotated[list[Row], Field(min_length=1)] | None = Field(
        default=None, examples=[[{"x": -1.0, "y": 1.1}, {"x": 0.0, "y": 2.9}]]
    )
    generator: Generator | None = None
    tags: Tags = []
    metadata: Metadata = {}

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if sum(getattr(self, form) is not None for form in _FORMS) != 1:
            raise PydanticCustomError(
                "one_form", "give the table in one form: columns, rows or generator"
            )
        return self

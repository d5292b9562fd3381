"""Datasets as a client sends them in JSON."""

from typing import Annotated

from pydantic import Field, StringConstraints

from service.schemas.common import Metadata, Name, Schema, Tags, Vector

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class DatasetColumns(Schema):
    """A table by columns: every list holds one number a row."""

    name: Name | None = None
    columns: dict[ColumnName, Annotated[Vector, Field(min_length=1)]] = Field(
        min_length=1, examples=[{"x": [-1.0, 0.0, 1.0], "y": [1.1, 2.9, 5.2]}]
    )
    tags: Tags = []
    metadata: Metadata = {}

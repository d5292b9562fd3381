"""Datasets as they are answered."""

from typing import Literal

from pydantic import Field

from service.schemas.answers.common import Answer, Page, Timestamp


class ColumnSummary(Answer):
    """One column of a dataset; `std` is the population's. A category has its texts instead."""

    name: str
    type: Literal["number", "category"]
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    n_distinct: int
    categories: list[str] | None = None


class Dataset(Answer):
    """A table, known by the digest of its numbers; `n_dropped` rows were left out."""

    id: str = Field(examples=["ds_01KB2Q3M6X8T5V9W0Y1Z2A3B4C"])
    object: Literal["dataset"]
    name: str | None
    created_at: Timestamp
    expires_at: Timestamp | None
    n_rows: int
    n_dropped: int
    size_bytes: int
    digest: str = Field(examples=["sha256:" + "0" * 64])
    columns: list[ColumnSummary]
    tags: list[str]
    metadata: dict[str, str]


class DatasetContent(Answer):
    """A table by columns."""

    columns: dict[str, list[float | str]]


class DatasetList(Page):
    """A page of datasets, newest first."""

    data: list[Dataset]

"""The query parameters of each operation."""

import re
from typing import Annotated, Literal, TypeVar

from flask import request
from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints, WithJsonSchema

from service.api.requests import query_arguments
from service.api.validation import parse_mapping
from service.errors import InvalidInput, Place
from service.schemas.batches import Metric, Mode, Select
from service.schemas.common import (
    CURSOR_PATTERN,
    DELIMITER_PATTERN,
    KEY_PATTERN,
    NO_NUL,
    FitStatus,
    Name,
    Schema,
)
from service.schemas.lists import ListQuery

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_METADATA = re.compile(r"metadata\[([^][]+)\]")
_MEANT_AS_METADATA = re.compile(r"metadata(\[.*)?", re.DOTALL)


def _refuse_other_forms(value: object) -> object:
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise ValueError("write it as 2026-11-24T09:30:00Z (RFC 3339)")
    return value


# Pydantic alone would take a number for seconds since the epoch.
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_refuse_other_forms)]


Cursor = Annotated[str, StringConstraints(pattern=CURSOR_PATTERN)]
Filter = Annotated[
    dict[Annotated[str, StringConstraints(pattern=KEY_PATTERN)], str],
    # Pydantic's own schema would leave keys of other patterns open.
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": KEY_PATTERN},
            "additionalProperties": {"type": "string"},
        }
    ),
]


class NoParameters(Schema):
    """None at all."""


class ReadParameters(Schema):
    """How an uploaded table is read."""

    delimiter: Annotated[str, StringConstraints(pattern=DELIMITER_PATTERN)] = Field(
        default=",", description="CSV: the one character between fields."
    )
    header: bool = Field(
        default=True,
        description="CSV: whether the first row names the columns; else they are `0`, `1`, ….",
    )
    missing: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="What becomes of rows with a missing or non-finite value.",
    )


class UploadParameters(ReadParameters):
    """How an uploaded table is read and kept."""

    name: Name | None = Field(default=None, description="The dataset's name.")
    missing: Literal["refuse", "drop"] = Field(
        default="refuse",
        description="What becomes of rows with a missing or non-finite value; "
        "`n_dropped` says how many were dropped.",
    )


class ListParameters(Schema):
    """A page of a list, newest first."""

    limit: int = Field(default=50, ge=1, le=1000, description="Rows a page.")
    after: Cursor | None = Field(default=None, description="The `next_cursor` of the page before.")
    tag: str | None = Field(default=None, description="Only what carries this tag.")
    metadata: Filter = Field(
        default={}, description="Only what has these values: `metadata[key]=value`."
    )
    created_after: Moment | None = Field(
        default=None, description="Only what was made after this moment (RFC 3339)."
    )


class StatePageParameters(ListParameters):
    """A page of fits, or of batches of them, which have the same states."""

    status: FitStatus | None = Field(default=None, description="Only what is in this state.")


class FitListParameters(StatePageParameters):
    """A page of fits, or of other jobs with their life; or some of them by id."""

    ids: str | None = Field(
        default=None,
        pattern=NO_NUL,
        description="Up to 200 ids, comma-separated: the answer is these, in their order, whatever "
        "else is asked for.",
    )


class BatchParameters(Schema):
    """What lines of NDJSON leave no room for."""

    name: Name | None = Field(default=None, description="The batch's name.")
    metric: Metric = Field(
        default="final_loss", description="Which metric names the best fit, as in `select`."
    )
    mode: Mode | None = Field(
        default=None, description="Whether its least or its largest number does."
    )

    @property
    def select(self) -> Select:
        """Both, as a body has them."""
        return Select(metric=self.metric, mode=self.mode)


Parameters = TypeVar("Parameters", bound=Schema)


def parameters(model: type[Parameters]) -> Parameters:
    """The query parameters as the model; each may stand once. Raises InvalidInput."""
    given: dict[str, object] = {}
    metadata: dict[str, str] = {}
    for name, value in query_arguments(request).items():
        key = _METADATA.fullmatch(name)
        if key and "metadata" in model.model_fields:
            metadata[key[1]] = value
        elif "metadata" in model.model_fields and _MEANT_AS_METADATA.fullmatch(name):
            detail = f"the query parameter {name!r}: write it as metadata[key]=value"
            raise InvalidInput(detail, places=[Place("metadata_form", detail)])
        else:
            given[name] = value
    return parse_mapping(model, given | ({"metadata": metadata} if metadata else {}))


def list_query(asked: ListParameters) -> ListQuery:
    """What the use cases take."""
    return ListQuery(
        limit=asked.limit,
        after=asked.after,
        status=asked.status if isinstance(asked, StatePageParameters) else None,
        tag=asked.tag,
        metadata=asked.metadata,
        created_after=asked.created_after.timestamp() if asked.created_after else None,
    )

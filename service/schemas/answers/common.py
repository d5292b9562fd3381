"""What all answers have in common."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Timestamp = Annotated[
    str,
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-24T09:30:00.000000Z"]),
]
Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]
StopReason = Literal[
    "completed", "converged", "early_stopped", "time_limit", "diverged", "cancelled", "error"
]


class Answer(BaseModel):
    """What an answer holds; a later version may hold more."""

    model_config = ConfigDict(extra="allow")


class Page(Answer):
    """What is listed, newest first, a page at a time."""

    object: Literal["list"]
    data: list[Any]
    has_more: bool
    next_cursor: str | None

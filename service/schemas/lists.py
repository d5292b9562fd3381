"""What a list is asked for, and what it answers."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ListQuery:
    """A page of a list, newest first.

    `after` is the last id of the page before; `created_after` is in seconds since the epoch.
    """

    limit: int = 50
    after: str | None = None
    status: str | None = None
    tag: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    created_after: float | None = None


@dataclass(frozen=True)
class Page:
    """One page; `next_cursor` is None on the last one."""

    data: list[dict[str, Any]]
    next_cursor: str | None

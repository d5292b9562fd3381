"""What the model of a fit's life is made of: fits, processes that die, a broker that is away."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import redis
from hypothesis import strategies as st
from sqlalchemy import Connection

from service.database import Database

Death = Literal["before the commit", "after the commit"]


class Died(Exception):
    """A process ended here."""


class MortalDatabase(Database):
    """One whose user dies at a write, where it is told to: the next one after those `spared`."""

    dies: Death | None = None
    spared = 0

    @contextmanager
    def write(self, *, flushed: bool = True) -> Iterator[Connection]:
        """Die before the commit, or just after it."""
        dies = None
        if self.spared:
            self.spared -= 1
        else:
            dies, self.dies = self.dies, None
        with super().write(flushed=flushed) as connection:
            yield connection
            if dies == "before the commit":
                raise Died
        if dies == "after the commit":
            raise Died


class Away:
    """A broker that does not answer."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Any of its methods, which fails."""

        def fail(*_: Any, **__: Any) -> None:
            raise redis.ConnectionError(name)

        return fail


@dataclass(frozen=True)
class Fate:
    """When the process that takes a step dies, and whether the broker answers it."""

    dies: Death | None = None
    broker_answers: bool = True


@dataclass
class Fit:
    """What is to be true of one fit."""

    id: str
    queue: str
    created_at: float
    hooked: bool
    batch_id: str | None = None
    status: str = "queued"
    attempt: int = 1
    fence: int = 0
    lease: float | None = None
    worker: str | None = None
    grouped: bool = False
    alone: bool = False
    result: Mapping[str, Any] | None = None
    error: str | None = None

    @property
    def held(self) -> bool:
        """Whether a worker has it."""
        return self.status in ("running", "cancelling")

    def release(self, status: str) -> None:
        """No worker has it any more."""
        self.status, self.lease = status, None
        self.grouped = self.grouped and status != "queued"


FATES = st.builds(
    Fate,
    st.sampled_from([None, None, None, "before the commit", "after the commit"]),
    st.sampled_from([True, True, True, False]),
)

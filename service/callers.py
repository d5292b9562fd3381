"""Who asked for what is being done, as places and logs know them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """The request on whose behalf something is done; `owner` is None where everybody is one.

    `traceparent` is the trace that the request came with, as W3C writes it.
    """

    owner: str | None = None
    request_id: str | None = None
    traceparent: str | None = None

    @property
    def named(self) -> Mapping[str, str | None]:
        """What every line of a log about it says, wherever the work goes on."""
        return {"request_id": self.request_id, "traceparent": self.traceparent}


NOBODY = Caller()

"""Who asked for what is being done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """The request on whose behalf something is done; `owner` is None where everybody is one."""

    owner: str | None = None


NOBODY = Caller()

"""What a request is known by, in its answer and in the log."""

import re

from ulid import ULID

HEADER = "X-Request-Id"

_SANE = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


def request_id(given: str | None) -> str:
    """The client's own id where it is one that a log can hold, else a new one."""
    return given if given and _SANE.fullmatch(given) else str(ULID())

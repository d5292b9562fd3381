"""What ends a command before its time.

ClientError
├── WrongUsage     what was typed means nothing; nothing was sent
├── Refused        the service says no
├── Unreachable    the service says nothing, or nothing that makes sense
└── Interrupted    Ctrl-C
"""

from collections.abc import Sequence
from typing import ClassVar

from service.client.exits import Exit


class ClientError(Exception):
    """`lines` are for stderr, `exit` is the command's code; `code` is the problem's, if any."""

    exit: ClassVar[Exit]

    def __init__(self, *lines: str, code: str | None = None) -> None:
        super().__init__(*lines)
        self.lines: Sequence[str] = lines
        self.code = code


class WrongUsage(ClientError):
    """An option, file or address that cannot be; nothing was sent."""

    exit = Exit.WRONG_USAGE


class Refused(ClientError):
    """The service's answer is a problem; `lines` say what to mend."""

    exit = Exit.REFUSED


class Unreachable(ClientError):
    """The service does not answer, or fails at its own, or is none."""

    exit = Exit.UNREACHABLE


class Interrupted(ClientError):
    """A person pressed Ctrl-C."""

    exit = Exit.INTERRUPTED

"""The client's exit codes, as every `--help` and the README tell them."""

from collections.abc import Mapping
from enum import IntEnum


class Exit(IntEnum):
    """What a command comes to."""

    DONE = 0
    REFUSED = 1
    WRONG_USAGE = 2
    FAILED = 3
    CANCELLED = 4
    UNREACHABLE = 5
    INTERRUPTED = 130
    UNWRITABLE = 141


MEANINGS: Mapping[Exit, str] = {
    Exit.DONE: "done; where fits were waited for, each has succeeded",
    Exit.REFUSED: "the service refused; stderr says what to mend",
    Exit.WRONG_USAGE: "a wrong command, file or address; nothing was sent",
    Exit.FAILED: "a fit failed, or one of a sweep's did",
    Exit.CANCELLED: "a fit or a sweep was cancelled",
    Exit.UNREACHABLE: "no answer, or none that makes sense, after all retries",
    Exit.INTERRUPTED: "Ctrl-C; what was queued goes on",
    Exit.UNWRITABLE: "stdout took no more: its reader left, as head does, or its disk is full",
}

# What the service says of an ended job.
OF_STATUS: Mapping[str, Exit] = {
    "succeeded": Exit.DONE,
    "failed": Exit.FAILED,
    "cancelled": Exit.CANCELLED,
}
EPILOG = "\n".join(
    ["Exit codes:", *(f"{code.value:>5}  {meaning}" for code, meaning in MEANINGS.items())]
)


def exit_of(job: Mapping[str, object]) -> Exit:
    """The code for an ended fit, range test or batch, as the service shows it.

    A batch with both failures and members that were cancelled by themselves has failed.
    """
    code = OF_STATUS[str(job["status"])]
    counts = job.get("counts")
    if code is Exit.CANCELLED or not isinstance(counts, Mapping):
        return code
    ends = (code, *(OF_STATUS[name] for name in ("failed", "cancelled") if counts[name]))
    return next((end for end in (Exit.FAILED, Exit.CANCELLED) if end in ends), code)

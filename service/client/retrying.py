"""How long a request that found nobody is sent again."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from service.client.errors import ClientError

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 8.0


class Later(Exception):
    """The same request may fare better; `error` is what to raise where it does not.

    `after_seconds` is how long the service asks to be left alone, where it says so.
    """

    def __init__(self, error: ClientError, after_seconds: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_seconds = after_seconds


@dataclass
class Patience:
    """Pauses of 0.5 s and then twice as long each time, up to 8 s, `seconds` of them in all.

    Each is shortened by up to a half, by chance, so that clients which lost the service at one
    moment do not all come back at one. What the service asks for is never cut short: where it is
    more than there is left, the trouble is raised instead. `tell` hears of each pause.
    """

    seconds: float
    tell: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    _spent: float = field(default=0.0, init=False)
    _n_pauses: int = field(default=0, init=False)

    def pause(self, trouble: Later, *, quietly: bool = False) -> None:
        """Wait before the next try; raises the trouble's error where there is no time left."""
        wish = min(_FIRST_SECONDS * 2**self._n_pauses, _LONGEST_SECONDS) * (1 - self.chance() / 2)
        left = self.seconds - self._spent
        asked = trouble.after_seconds or 0.0
        if left <= 0 or asked > left:
            raise trouble.error
        # The last pause is as long as there is time for.
        seconds = min(max(wish, asked), left)
        if not quietly:
            self.tell(f"{trouble.error.lines[0]}; trying again {_in(seconds)}")
        self._spent += seconds
        self._n_pauses += 1
        self.sleep(seconds)

    def rest(self, seconds: float) -> None:
        """Wait where there was no trouble: nothing of the patience is spent."""
        self.renew()
        self.sleep(seconds)

    def renew(self) -> None:
        """Things went well for a while: what comes next is a new trouble."""
        self._spent, self._n_pauses = 0.0, 0


def _in(seconds: float) -> str:
    """As people say it: a pause that rounds to nothing is none."""
    told = f"{seconds:.1f}"
    return "at once" if told == "0.0" else f"in {told} s"


def retry_after(header: str | None, now: datetime) -> float | None:
    """The seconds that a `Retry-After` asks for, as a number or a date; None of neither."""
    if header is None:
        return None
    if header.isascii() and header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    # A date without a zone is one of GMT, as all of HTTP's are.
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())

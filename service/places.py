"""Places for what holds a thread of the API while it waits: so many a process, some an owner."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Quota, QuotaExceeded, Unavailable


class Places:
    """The places of this process for what `of` names; safe to share between threads.

    An owner has a quarter of them at most, so that nobody shuts all others out.
    """

    def __init__(self, n: int, of: str, full: type[Unavailable]) -> None:
        self.n = n
        self.n_of_an_owner = n // 4
        self._of = of
        self._quota = Quota(of.replace(" ", "-"), self.n_of_an_owner, 0, "concurrent-requests")
        self._full = full
        self._lock = threading.Lock()
        self._taken: Counter[str | None] = Counter()

    def take(self, owner: str | None) -> None:
        """Take one; raises `full` where none is free, and QuotaExceeded where the owner has enough.

        None, where everybody is one owner, may have them all.
        """
        with self._lock:
            if owner is not None and self._taken[owner] >= self.n_of_an_owner:
                detail = f"{self.n_of_an_owner} {self._of} of yours are open already"
                raise QuotaExceeded(detail, self._quota)
            if self._taken.total() >= self.n:
                raise self._full(f"{self.n} {self._of} are open already")
            self._taken[owner] += 1

    def give_back(self, owner: str | None) -> None:
        """Let another one in."""
        with self._lock:
            self._taken[owner] -= 1
            # The unary plus drops what has come down to 0.
            self._taken = +self._taken

    @contextmanager
    def taken(self, owner: str | None) -> Iterator[None]:
        """One until the block's end; raises as `take` does."""
        self.take(owner)
        try:
            yield
        finally:
            self.give_back(owner)

    @contextmanager
    def taken_if_free(self, owner: str | None) -> Iterator[bool]:
        """Whether there is one, which is held until the block's end; for who can do without."""
        has_place = self._take_if_free(owner)
        try:
            yield has_place
        finally:
            if has_place:
                self.give_back(owner)

    def _take_if_free(self, owner: str | None) -> bool:
        try:
            self.take(owner)
        except (QuotaExceeded, self._full):
            return False
        return True

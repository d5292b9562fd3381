"""Places in which messages are tried at once: owners take turns at them, and hosts too.

A host that takes connections and says nothing holds a place for as long as a try may last. So each
owner, and each host of an owner's, has a few of the places while others wait, and never all.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Collection

from service.database.deliveries import DueHost

_MOST_KNOWN = 10_000


class Turns:
    """The places of one process, and whose turn the next one is; safe to share between threads.

    Past the two bounds a place is for a host that answers, where nobody within them waits and as
    many as `kept_free` stay free for who comes.
    """

    def __init__(
        self, places: int, *, most_of_an_owner: int, most_of_a_host: int, kept_free: int
    ) -> None:
        self._n_places = places
        self._most_of_an_owner = most_of_an_owner
        self._most_of_a_host = most_of_a_host
        self._kept_free = kept_free
        self._lock = threading.Lock()
        self._owners: Counter[str] = Counter()
        self._hosts: Counter[tuple[str, str]] = Counter()
        # Owners, and their hosts, that had a turn, the last one at the end.
        self._had: OrderedDict[str | tuple[str, str], int] = OrderedDict()
        self._n_turns = 0

    def any_taken(self) -> bool:
        """Whether anything is being tried."""
        with self._lock:
            return self._owners.total() > 0

    def next_of(self, due: Collection[DueHost]) -> DueHost | None:
        """Which of them comes next: of those with the fewest places who had none for the longest.

        So goes the choice of an owner, and then of a host of theirs. None where no place is free
        that any of them may have.
        """
        with self._lock:
            n_free = self._n_places - self._owners.total()
            able = [one for one in due if self._is_within_bounds(one)] if n_free else []
            if not able and n_free > self._kept_free:
                able = [one for one in due if one.answers]
            return min(able, key=self._order, default=None)

    def take(self, owner: str, host: str) -> None:
        """Note that a message of the owner's to the host is being tried."""
        with self._lock:
            self._owners[owner] += 1
            self._hosts[owner, host] += 1
            self._n_turns += 1
            for one in (owner, (owner, host)):
                self._had[one] = self._n_turns
                self._had.move_to_end(one)
            while len(self._had) > _MOST_KNOWN:
                self._had.popitem(last=False)

    def give_back(self, owner: str, host: str) -> None:
        """Note that it no longer is."""
        with self._lock:
            # The unary plus drops what has come down to 0.
            self._owners[owner] -= 1
            self._owners = +self._owners
            self._hosts[owner, host] -= 1
            self._hosts = +self._hosts

    def _is_within_bounds(self, one: DueHost) -> bool:
        return (
            self._owners[one.owner] < self._most_of_an_owner
            and self._hosts[one.owner, one.host] < self._most_of_a_host
        )

    def _order(self, one: DueHost) -> tuple[int, int, str, int, int, str]:
        its = (one.owner, one.host)
        return (
            self._owners[one.owner],
            self._had.get(one.owner, 0),
            one.owner,
            self._hosts[its],
            self._had.get(its, 0),
            one.host,
        )

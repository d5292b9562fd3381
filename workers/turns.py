"""Places in which messages are tried at once: owners take turns at them, and hosts too.

A host that takes connections and says nothing holds a place for as long as a try may last. So each
owner, and each host of an owner's, has a few of the places and never all.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Collection

_MOST_KNOWN = 10_000


class Turns:
    """The places of one process, and whose turn the next one is; safe to share between threads."""

    def __init__(self, places: int, *, most_of_an_owner: int, most_of_a_host: int) -> None:
        self._n_places = places
        self._most_of_an_owner = most_of_an_owner
        self._most_of_a_host = most_of_a_host
        self._lock = threading.Lock()
        self._owners: Counter[str] = Counter()
        self._hosts: Counter[tuple[str, str]] = Counter()
        # Those who had a turn, the last one at the end.
        self._had: OrderedDict[str, int] = OrderedDict()
        self._n_turns = 0

    def any_taken(self) -> bool:
        """Whether anything is being tried."""
        with self._lock:
            return self._owners.total() > 0

    def next_of(self, owners: Collection[str]) -> str | None:
        """Who of them comes next: of those with the fewest places who had none for the longest.

        None where no place is free that any of them may have.
        """
        with self._lock:
            able = [one for one in owners if self._owners[one] < self._most_of_an_owner]
            if not able or self._owners.total() >= self._n_places:
                return None
            return min(able, key=lambda one: (self._owners[one], self._had.get(one, 0), one))

    def full_hosts(self, owner: str) -> list[str]:
        """The hosts that have as many of the owner's places as they may."""
        with self._lock:
            return [
                host
                for (whose, host), n in self._hosts.items()
                if whose == owner and n >= self._most_of_a_host
            ]

    def take(self, owner: str, host: str) -> None:
        """Note that a message of the owner's to the host is being tried."""
        with self._lock:
            self._owners[owner] += 1
            self._hosts[owner, host] += 1
            self._n_turns += 1
            self._had[owner] = self._n_turns
            self._had.move_to_end(owner)
            if len(self._had) > _MOST_KNOWN:
                self._had.popitem(last=False)

    def give_back(self, owner: str, host: str) -> None:
        """Note that it no longer is."""
        with self._lock:
            # The unary plus drops what has come down to 0.
            self._owners[owner] -= 1
            self._owners = +self._owners
            self._hosts[owner, host] -= 1
            self._hosts = +self._hosts

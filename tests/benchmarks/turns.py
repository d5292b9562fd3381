"""How often a peer's process runs, so that fast ones can be timed and slow ones be waited for."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.peer_process import PeerProcess
from tests.benchmarks.timing import Timing

ROUNDS = 5
# A first run of this length is hardly colder than the next one: it counts.
_SLOW_SECONDS = 3.0
# Whoever has taken so long, and has been timed at all, has had its turns.
_PATIENCE_SECONDS = 12.0
# After a sleep the first tens of milliseconds are slow ones: no peer is timed by them alone.
_LEAST_ROUND_SECONDS = 0.5
_MOST_CALLS = 2_000


@dataclass
class Entrant:
    """How long each run of a peer took, in how many rounds.

    `strategies` are the engine's, where it is the engine; `difference` is how far it was from the
    engine in the worst of all rounds.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    rounds: int = 0
    strategies: list[str] = field(default_factory=list)
    difference: dict[str, float] = field(default_factory=dict)

    @property
    def timing(self) -> Timing:
        """Its runs."""
        return Timing(self.name, self.seconds)

    def differ(self, difference: dict[str, float]) -> None:
        """Keep the larger of this difference and the one before, each by its name."""
        for name, value in difference.items():
            self.difference[name] = max(value, self.difference.get(name, 0.0))

    def as_json(self) -> dict[str, Any]:
        """The figures that the report keeps."""
        return self.timing.as_json() | {
            "rounds": self.rounds,
            "runs": len(self.seconds),
            "strategies": self.strategies,
            "difference": self.difference,
        }


class Turns:
    """The turns of a peer whose work is prepared: the first warms it up, unless it is slow."""

    def __init__(self, process: PeerProcess) -> None:
        self.peer = process.peer
        self.entrant = Entrant(process.peer.name)
        self._process = process
        self._fastest = math.inf
        self._spent_seconds = 0.0

    @property
    def over(self) -> bool:
        """Whether it has run as often as it is to."""
        rounds = self.entrant.rounds
        return rounds == ROUNDS or (rounds > 0 and self._spent_seconds >= _PATIENCE_SECONDS)

    def take(self) -> dict[str, Any] | None:
        """Run as often as makes a round that can be timed; the figures of the last run."""
        warm = self._spent_seconds > 0
        calls = min(_MOST_CALLS, max(1, math.ceil(_LEAST_ROUND_SECONDS / self._fastest)))
        seconds, figures = self._process.run(calls)
        self._fastest = min(self._fastest, *seconds)
        self._spent_seconds += sum(seconds)
        if warm or self._fastest >= _SLOW_SECONDS:
            self.entrant.seconds += seconds
            self.entrant.rounds += 1
        if figures is not None:
            self.entrant.strategies = figures["strategies"]
        return figures


def in_turn(turns: Sequence[Turns]) -> Iterator[Turns]:
    """Each one's turn, round after round, until all are over."""
    while taking_part := [turn for turn in turns if not turn.over]:
        yield from taking_part

"""The engine beside its peers, who take turns at each of its workloads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.agreement import allowed, difference
from tests.benchmarks.lineup import Peer, Workload
from tests.benchmarks.peer_process import started
from tests.benchmarks.turns import Entrant, Turns, in_turn


@dataclass(frozen=True)
class Measured:
    """A workload's entrants, the engine first, and the versions of what they ran on."""

    workload: Workload
    entrants: Sequence[Entrant]
    versions: Mapping[str, str]

    def ratio(self, entrant: Entrant) -> float:
        """Its median over the engine's."""
        return entrant.timing.median_seconds / self.entrants[0].timing.median_seconds

    def ratio_of_fastest(self, entrant: Entrant) -> float:
        """Its fastest run over the engine's: far from `ratio` where the machine was busy."""
        return min(entrant.seconds) / min(self.entrants[0].seconds)

    def reached(self, entrant: Entrant) -> bool | None:
        """Whether the engine is as far ahead of it as the bar says; None where there is no bar."""
        bar = self.workload.bars.get(entrant.name)
        return None if bar is None else self.ratio(entrant) >= bar

    def as_json(self) -> dict[str, Any]:
        """The figures that the report keeps."""
        return {
            "name": self.workload.name,
            "title": self.workload.title,
            "work": self.workload.work.as_json(),
            "tolerance": self.workload.tolerance,
            "peers": [entrant.as_json() for entrant in self.entrants],
            "bars": [
                {
                    "peer": entrant.name,
                    "at_least": self.workload.bars[entrant.name],
                    "ratio": self.ratio(entrant),
                    "ratio_of_fastest": self.ratio_of_fastest(entrant),
                    "reached": self.reached(entrant),
                }
                for entrant in self.entrants
                if entrant.name in self.workload.bars
            ],
        }


def measure(workload: Workload) -> Measured:
    """Time the workload's peers in one run; raises RuntimeError where one does other work."""
    versions: dict[str, str] = {}
    with started(workload.peers) as processes:
        for process in processes:
            versions |= process.prepare(workload.work)
        turns = [Turns(process) for process in processes]
        _take_turns(workload, turns)
    return Measured(workload, [turn.entrant for turn in turns], versions)


def _take_turns(workload: Workload, turns: Sequence[Turns]) -> None:
    """All rounds; every turn is held against the engine's last, which comes first in a round."""
    ours: Mapping[str, Any] = {}
    for turn in in_turn(turns):
        figures = turn.take()
        if turn is turns[0]:
            ours = figures or {}
        elif figures is not None:
            turn.entrant.differ(_compared(workload, turn.peer, ours, figures))


def _compared(
    workload: Workload, peer: Peer, ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> dict[str, float]:
    found = difference(ours, theirs, peer.compared)
    limit = allowed(peer.compared, workload.tolerance)
    # A number that is not finite is no smaller than the limit either.
    if not all(value <= limit for value in found.values()):
        raise RuntimeError(f"{workload.name}: {peer.name} is {found} from ours, past {limit}")
    return found

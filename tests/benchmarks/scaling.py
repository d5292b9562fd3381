"""How the engine's time grows with the rows, the features, the steps and the number of fits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.lineup import OURS
from tests.benchmarks.peer_process import started
from tests.benchmarks.turns import Entrant, Turns, in_turn
from tests.benchmarks.workloads import Work


@dataclass(frozen=True)
class Series:
    """Works that differ in one of their sizes alone."""

    name: str
    kind: str
    others: Mapping[str, int]
    grows: str
    values: Sequence[int]

    def works(self) -> Iterator[tuple[int, Work]]:
        """Each value, and its work."""
        for value in self.values:
            yield value, Work(self.kind, {**self.others, self.grows: value})


@dataclass(frozen=True)
class Grown:
    """A series and the engine's time at each of its values."""

    series: Series
    points: Sequence[tuple[int, Entrant]]

    def as_json(self) -> dict[str, Any]:
        """The figures that the report keeps."""
        points = [{"value": value} | entrant.as_json() for value, entrant in self.points]
        return {
            "name": self.series.name,
            "kind": self.series.kind,
            "size": dict(self.series.others),
            "grows": self.series.grows,
            "points": points,
        }


SERIES = (
    Series(
        "rows: d = 20, 100 full-batch steps",
        "full_batch",
        {"n_features": 20, "steps": 100},
        "n_rows",
        (1_000, 10_000, 100_000, 1_000_000),
    ),
    Series(
        "features: n = 10,000, 100 full-batch steps",
        "full_batch",
        {"n_rows": 10_000, "steps": 100},
        "n_features",
        (1, 10, 100, 1_000),
    ),
    Series(
        "full-batch steps: the notebook",
        "notebook",
        {},
        "steps",
        (100, 1_000, 10_000, 100_000),
    ),
    Series(
        "linear fits: n = 100, d = 1, 100 full-batch steps each",
        "planes",
        {"n_rows": 100, "n_features": 1, "steps": 100},
        "n_fits",
        (1, 10, 100, 1_000),
    ),
)


def measure(series: Series) -> Grown:
    """Time the engine alone, at one value after the other."""
    points = []
    with started((OURS,)) as (process,):
        for value, work in series.works():
            process.prepare(work)
            turns = Turns(process)
            for turn in in_turn([turns]):
                turn.take()
            points.append((value, turns.entrant))
    return Grown(series, points)

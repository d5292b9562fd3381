"""What the benchmarks print: a table each."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from tests.benchmarks.engine import Measured
from tests.benchmarks.load.growth import Growth
from tests.benchmarks.load.tally import Tally
from tests.benchmarks.scaling import Grown
from tests.benchmarks.timing import Timing
from tests.benchmarks.turns import Entrant

_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


def timings_table(title: str, timings: list[Timing]) -> Table:
    """The first timing is the peer that the others are a ratio of."""
    table = Table("", "median ms", "fastest ms", "ratio of medians", title=title)
    for timing in timings:
        table.add_row(
            timing.name,
            f"{timing.median_seconds * 1e3:.2f}",
            f"{min(timing.seconds) * 1e3:.2f}",
            f"{timing.median_seconds / timings[0].median_seconds:.2f}",
        )
    return table


def figures_table(title: str, figures: dict[str, Any]) -> Table:
    """A row a figure."""
    table = Table("", "", title=title)
    for name, figure in figures.items():
        table.add_row(name, f"{figure:,.4g}" if isinstance(figure, float) else f"{figure:,}")
    return table


def bars_table(title: str, bars: Mapping[str, Any]) -> Table:
    """A row a bar: what was measured, what was to be, whether it was."""
    table = Table("", "measured", "bar", "reached?", title=title)
    for name, bar in bars.items():
        at_least = "at_least" in bar
        limit = bar["at_least"] if at_least else bar["at_most"]
        table.add_row(
            name,
            _number(bar["measured"]),
            f"{'≥' if at_least else '≤'} {_number(limit)}",
            "yes" if bar["reached"] else "no",
        )
    return table


def answers_table(title: str, tally: Tally) -> Table:
    """A row an operation: how many answers of each class, and how long they took."""
    table = Table("operation", "answers", "median", "p99", title=title, box=SIMPLE)
    for name, counted in tally.as_json().items():
        answers = ", ".join(f"{n:,} {status}" for status, n in counted["answers"].items())
        times = (_seconds(counted[f"{of}_seconds"]) for of in ("median", "p99"))
        table.add_row(name, answers, *times)
    return table


def growth_table(growths: Sequence[Growth]) -> Table:
    """A row a process: what it has in the last third of its time, and more than in the first."""
    title = "The service's processes, first third to last"
    table = Table("process", title=title, box=SIMPLE)
    for heading in ("MB", "growth", "descriptors", "growth"):
        table.add_column(heading, justify="right", no_wrap=True)
    for growth in growths:
        table.add_row(
            growth.process,
            f"{growth.memory_bytes / 1e6:,.0f}",
            f"{growth.memory_growth_bytes / 1e6:+,.1f}",
            f"{growth.descriptors}",
            f"{growth.descriptors_growth:+}",
        )
    return table


def engine_table(workloads: Sequence[Measured]) -> Table:
    """Every peer of every workload; its ratios are its median and its min over the engine's."""
    table = Table("workload", "peer", title="The engine beside its peers", box=SIMPLE)
    for heading in ("median", "min", "ratio", "of mins", "bar", "reached?"):
        table.add_column(heading, justify="right", no_wrap=True)
    for measured in workloads:
        table.add_section()
        for entrant in measured.entrants:
            first = entrant is measured.entrants[0]
            table.add_row(
                measured.workload.name if first else "",
                _named(entrant),
                *_times(entrant),
                "" if first else _number(measured.ratio(entrant)),
                "" if first else _number(measured.ratio_of_fastest(entrant)),
                *_bar(measured, entrant),
            )
    return table


def scaling_table(grown: Sequence[Grown]) -> Table:
    """How many times as long each value takes as the one before."""
    table = Table("what grows", title="How the engine's time grows", box=SIMPLE)
    for heading in ("value", "median", "min", "growth", "strategy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for of in grown:
        table.add_section()
        before: Entrant | None = None
        for value, entrant in of.points:
            growth = "" if before is None else f"{_median(entrant) / _median(before):.2f}"
            name = of.series.name if before is None else ""
            strategies = ", ".join(entrant.strategies)
            table.add_row(name, f"{value:,}", *_times(entrant), growth, strategies)
            before = entrant
    return table


def _named(entrant: Entrant) -> str:
    if not entrant.strategies:
        return entrant.name
    return f"{entrant.name} ({', '.join(entrant.strategies)})"


def _times(entrant: Entrant) -> tuple[str, str]:
    return _seconds(_median(entrant)), _seconds(min(entrant.seconds))


def _median(entrant: Entrant) -> float:
    return entrant.timing.median_seconds


def _seconds(seconds: float) -> str:
    unit, size = next((of for of in _UNITS if seconds >= of[1]), _UNITS[-1])
    return f"{_number(seconds / size)} {unit}"


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _bar(measured: Measured, entrant: Entrant) -> tuple[str, str]:
    bar = measured.workload.bars.get(entrant.name)
    if bar is None:
        return "", ""
    return f"≥ {_number(bar)}", "yes" if measured.reached(entrant) else "no"

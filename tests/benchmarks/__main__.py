"""`make bench`: measure, print the table, write `bench.json`."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import larger_than_memory, latency, uploads
from tests.benchmarks.timing import Timing

_REPORT = Path("bench.json")


def main() -> None:
    """Run every benchmark."""
    console = Console()
    timings = latency.measure()
    console.print(_table("A small fit's round trip (100 steps, n = 100)", timings))
    inline = uploads.measure_inline()
    console.print(_table("100,000 × 10 numbers inside a fit's body", inline))
    csv = uploads.measure_csv()
    console.print(_figures("A CSV of 2 GB, posted while others use the API", csv))
    large = larger_than_memory.measure()
    console.print(_figures("A mini-batch fit on a table larger than the worker's memory", large))
    report = {
        "machine": {"processor": _processor(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("thalweg", "torch", "numpy", "celery")}
        | {"python": platform.python_version()},
        "workloads": [],
        "service": {
            "latency": [timing.as_json() for timing in timings],
            "inline": [timing.as_json() for timing in inline],
            "csv_upload": csv,
            "larger_than_memory": large,
        },
    }
    _REPORT.write_text(json.dumps(report, indent=2) + "\n")
    console.print(f"written to {_REPORT}")


def _table(title: str, timings: list[Timing]) -> Table:
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


def _figures(title: str, figures: dict[str, Any]) -> Table:
    table = Table("", "", title=title)
    for name, figure in figures.items():
        table.add_row(name, f"{figure:,.4g}" if isinstance(figure, float) else f"{figure:,}")
    return table


def _processor() -> Any:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()

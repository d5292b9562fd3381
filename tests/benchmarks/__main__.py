"""`make bench`: measure, print the tables, write `bench.json`.

Arguments name the parts to run; without any, all of them are.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks import engine, larger_than_memory, latency, scaling, uploads
from tests.benchmarks.lineup import WORKLOADS
from tests.benchmarks.peer_process import unset_variables
from tests.benchmarks.tables import engine_table, figures_table, scaling_table, timings_table

_REPORT = Path("bench.json")
_WIDTH_IN_A_FILE = 100
_OWN_VERSIONS = ("thalweg", "torch", "numpy", "celery")

Part = Callable[[Console, dict[str, Any]], None]


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    named = parser.parse_args().parts
    unknown = [name for name in named if name not in PARTS]
    if unknown:
        parser.error(f"there is no {unknown[0]!r}; these are the parts: {', '.join(PARTS)}")
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_IN_A_FILE)
    report = _begin()
    try:
        for name in named or PARTS:
            PARTS[name](console, report)
    finally:
        # A part that fails ends the run, but not what was measured before it.
        _REPORT.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"written to {_REPORT}")


def _begin() -> dict[str, Any]:
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load_average_at_the_start": os.getloadavg()[0],
            "unset_for_the_engine_and_its_peers": unset_variables(),
        },
        "versions": {name: version(name) for name in _OWN_VERSIONS}
        | {"python": platform.python_version()},
        "workloads": [],
        "scaling": [],
        "service": {},
    }


def _engine(console: Console, report: dict[str, Any]) -> None:
    workloads: list[engine.Measured] = []
    try:
        for workload in WORKLOADS:
            console.print(workload.title)
            workloads.append(engine.measure(workload))
            report["versions"] |= workloads[-1].versions
            report["workloads"].append(workloads[-1].as_json())
    finally:
        console.print(engine_table(workloads))


def _scaling(console: Console, report: dict[str, Any]) -> None:
    grown = [scaling.measure(series) for series in scaling.SERIES]
    console.print(scaling_table(grown))
    report["scaling"] = [of.as_json() for of in grown]


def _latency(console: Console, report: dict[str, Any]) -> None:
    timings = latency.measure()
    console.print(timings_table("A small fit's round trip (100 steps, n = 100)", timings))
    report["service"]["latency"] = [timing.as_json() for timing in timings]


def _inline(console: Console, report: dict[str, Any]) -> None:
    timings = uploads.measure_inline()
    console.print(timings_table("100,000 × 10 numbers inside a fit's body", timings))
    report["service"]["inline"] = [timing.as_json() for timing in timings]


def _csv(console: Console, report: dict[str, Any]) -> None:
    figures = uploads.measure_csv()
    console.print(figures_table("A CSV of 2 GB, posted while others use the API", figures))
    report["service"]["csv_upload"] = figures


def _large(console: Console, report: dict[str, Any]) -> None:
    figures = larger_than_memory.measure()
    title = "A mini-batch fit on a table larger than the worker's memory"
    console.print(figures_table(title, figures))
    report["service"]["larger_than_memory"] = figures


PARTS: Mapping[str, Part] = {
    "engine": _engine,
    "scaling": _scaling,
    "latency": _latency,
    "inline": _inline,
    "csv": _csv,
    "large": _large,
}


def _processor() -> Any:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()

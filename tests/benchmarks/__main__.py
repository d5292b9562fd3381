"""`make bench`: measure, print the tables, write `bench.json`.

Arguments name the parts to run; without any, all of them are.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks import (
    batch,
    checkpoints,
    cold_start,
    engine,
    gpu,
    larger_than_memory,
    latency,
    scaling,
    uploads,
)
from tests.benchmarks.lineup import WORKLOADS
from tests.benchmarks.load import run as load
from tests.benchmarks.peer_process import unset_variables
from tests.benchmarks.tables import (
    answers_table,
    bars_table,
    engine_table,
    figures_table,
    growth_table,
    scaling_table,
    timings_table,
)

_REPORT = Path("bench.json")
_WIDTH_IN_A_FILE = 100
_OWN_VERSIONS = ("thalweg", "torch", "numpy", "celery")

Part = Callable[[Console, dict[str, Any]], None]


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--load-seconds", type=float, default=load.SECONDS, help="how long the load lasts"
    )
    given = parser.parse_args()
    named = given.parts
    unknown = [name for name in named if name not in PARTS]
    if unknown:
        parser.error(f"there is no {unknown[0]!r}; these are the parts: {', '.join(PARTS)}")
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_IN_A_FILE)
    report = _begin()
    parts: dict[str, Part] = {**PARTS, "load": partial(_load, seconds=given.load_seconds)}
    try:
        for name in named or parts:
            parts[name](console, report)
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
    bars = latency.bars(timings)
    console.print(timings_table("A small fit's round trip (100 steps, n = 100)", timings))
    console.print(bars_table("Medians over the bare Celery no-op's", bars))
    report["service"]["latency"] = [timing.as_json() for timing in timings]
    report["service"]["latency_bars"] = bars


def _batch(console: Console, report: dict[str, Any]) -> None:
    figures = batch.measure()
    title = "Small fits (100 steps, n = 100) through the whole service"
    bars = batch.bars(figures)
    console.print(figures_table(title, figures))
    console.print(bars_table("Beside the bare Celery no-op's rate, and by itself", bars))
    report["service"]["batch"] = {**figures, "bars": bars}


def _inline(console: Console, report: dict[str, Any]) -> None:
    timings = uploads.measure_inline()
    console.print(timings_table("100,000 × 10 numbers inside a fit's body", timings))
    report["service"]["inline"] = [timing.as_json() for timing in timings]


def _csv(console: Console, report: dict[str, Any]) -> None:
    figures = uploads.measure_csv()
    console.print(figures_table("A CSV of 2 GB, posted while others use the API", figures))
    report["service"]["csv_upload"] = figures


def _cold(console: Console, report: dict[str, Any]) -> None:
    figures = cold_start.measure()
    console.print(figures_table("The kernels, with nothing compiled yet and with all", figures))
    report["service"]["cold_start"] = figures


def _load(console: Console, report: dict[str, Any], seconds: float = load.SECONDS) -> None:
    loaded = load.measure(seconds)
    report["service"]["load"] = loaded.as_json()
    title = f"Good and bad traffic: {loaded.requests_per_second:.0f} requests a second"
    console.print(answers_table(title, loaded.tally))
    console.print(growth_table(loaded.growths))
    for fault in loaded.faults:
        console.print(fault, markup=False, highlight=False)
    if loaded.faults:
        sys.exit(f"the service did not bear the load: {len(loaded.faults)} faults")
    console.print("no answer but those that were due, memory and descriptors flat, no fit lost")


def _large(console: Console, report: dict[str, Any]) -> None:
    figures = larger_than_memory.measure()
    title = "A mini-batch fit on a table larger than the worker's memory"
    console.print(figures_table(title, figures))
    report["service"]["larger_than_memory"] = figures


def _checkpoints(console: Console, report: dict[str, Any]) -> None:
    report["service"]["checkpoints"] = []
    for title, fit in checkpoints.FITS.items():
        figures = checkpoints.measure(fit)
        bar = checkpoints.bar(figures)
        console.print(figures_table(f"{title}, written down every second", figures))
        console.print(bars_table("Of the fit's time", bar))
        report["service"]["checkpoints"].append({"name": title, **figures, "bars": bar})


def _gpu(console: Console, report: dict[str, Any]) -> None:
    report["gpu"] = []
    if not gpu.device_name():
        console.print("There is no CUDA device here: nothing on one is measured.")
        return
    for workload in gpu.WORKLOADS:
        timings = gpu.measure(workload)
        title = f"{workload.title}, on {gpu.device_name()}"
        console.print(timings_table(title, timings))
        report["gpu"].append({"name": workload.name, "peers": [t.as_json() for t in timings]})


PARTS: Mapping[str, Part] = {
    "engine": _engine,
    "scaling": _scaling,
    "latency": _latency,
    "batch": _batch,
    "inline": _inline,
    "csv": _csv,
    "large": _large,
    "checkpoints": _checkpoints,
    "cold": _cold,
    "gpu": _gpu,
    "load": _load,
}


def _processor() -> Any:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()

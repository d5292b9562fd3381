"""What operators watch: counters and times of all processes of a machine, by Prometheus' client.

Where `PROMETHEUS_MULTIPROC_DIR` is set, each process counts in files of its own there, and whoever
is asked adds them up. The variable must be set before this module is imported.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from prometheus_client import REGISTRY as OWN
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.database import Database
from service.database.fits import queued_by_queue, running_by_kind
from service.settings import METRICS_DIRECTORY

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SHORT = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)
_LONG = (*_SHORT, 300.0, 1_800.0, 3_600.0)

REQUESTS = Counter("thalweg_requests", "Requests answered.", ["method", "operation", "status"])
REQUEST_SECONDS = Histogram(
    "thalweg_request_seconds", "From a request's first byte to its answer.", ["operation"],
    buckets=_SHORT,
)  # fmt: skip
FITS = Counter(
    "thalweg_fits", "Fits and range tests that ended.",
    ["kind", "status", "stop_reason", "strategy"],
)  # fmt: skip
FIT_SECONDS = Histogram(
    "thalweg_fit_seconds", "What an ended fit took: queued, data, compute, record.", ["phase"],
    buckets=_LONG,
)  # fmt: skip
LEASES_LOST = Counter("thalweg_leases_lost", "Fits taken back from workers that were lost.")


def count_end(kind: str, status: str, stop_reason: str, result: Mapping[str, Any] | None) -> None:
    """Count a fit that has ended."""
    diagnostics = (result or {}).get("diagnostics") or {}
    strategy = diagnostics.get("strategy") or "none"
    _ended(kind, status, stop_reason, strategy).inc()
    for phase, seconds in diagnostics.get("seconds", {}).items():
        _took(phase).observe(max(0.0, seconds))


# Every fit passes through these: to look for a counter takes longer than to count.
@cache
def _ended(*labels: str) -> Counter:
    return FITS.labels(*labels)


@cache
def _took(phase: str) -> Histogram:
    return FIT_SECONDS.labels(phase)


class _Waiting(Collector):
    """What waits and what runs, as the database has it at this moment."""

    def __init__(self, database: Database, now: float) -> None:
        self._database = database
        self._now = now

    def collect(self) -> Iterable[Metric]:
        """The gauges."""
        depth = GaugeMetricFamily("thalweg_queue_depth", "Fits that wait.", labels=["queue"])
        age = GaugeMetricFamily(
            "thalweg_queue_age_seconds", "How long the oldest of them has waited.", labels=["queue"]
        )
        running = GaugeMetricFamily("thalweg_fits_running", "Fits at work.", labels=["kind"])
        with self._database.read() as connection:
            for queue, n_queued, oldest in queued_by_queue(connection):
                depth.add_metric([queue], n_queued)
                age.add_metric([queue], max(0.0, self._now - oldest))
            for kind, n_running in running_by_kind(connection):
                running.add_metric([kind], n_running)
        return [depth, age, running]


def exposition(database: Database, now: float) -> bytes:
    """All of it in Prometheus' text format; `now` in seconds since the epoch."""
    registry = CollectorRegistry()
    registry.register(_Waiting(database, now))
    return generate_latest(registry) + counted()


def serve_metrics(port: int | None) -> Callable[[], None]:
    """Let Prometheus scrape what this machine's processes have counted; gives what ends it."""
    if port is None:
        return lambda: None
    server, thread = start_http_server(port, registry=_counting())

    def stop() -> None:
        server.shutdown()
        thread.join()
        shutil.rmtree(os.environ.get(METRICS_DIRECTORY, ""), ignore_errors=True)

    return stop


def counted() -> bytes:
    """What this machine's processes, or this one alone, have counted."""
    return generate_latest(_counting())


def _counting() -> CollectorRegistry:
    if METRICS_DIRECTORY not in os.environ:
        return OWN
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry

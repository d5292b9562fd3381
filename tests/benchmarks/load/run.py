"""Puts a service under load for a while, and tells how it bore that."""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.load import bad, good
from tests.benchmarks.load.client import Client, Ledger
from tests.benchmarks.load.ends import faults_of_ends, n_counted
from tests.benchmarks.load.growth import Growth, watched
from tests.benchmarks.load.tally import Tally
from tests.stack.conftest import serving

SECONDS = 60.0
_CLIENTS = 8
# Threads, connections and caches are nearly as many and as large then as they will be, and redis
# forgets by then as much as it is told.
_WARM_UP_SECONDS = 60.0
_LIMITS = {
    "THALWEG_MAX_REQUEST_BYTES": str(bad.MOST_REQUEST_BYTES),
    "THALWEG_MAX_JSON_BYTES": str(bad.MOST_JSON_BYTES),
    "THALWEG_MAX_QUEUED_FITS": str(bad.MOST_QUEUED_FITS),
    "THALWEG_LOG_LEVEL": "ERROR",
}


@dataclass(frozen=True)
class Loaded:
    """What a load was answered with, how the service's processes grew, and what was wrong."""

    seconds: float
    tally: Tally
    growths: Sequence[Growth]
    n_ended: int
    faults: Sequence[str]

    @property
    def requests_per_second(self) -> float:
        """Answers of every kind."""
        return self.tally.n_answers / self.seconds

    def as_json(self) -> dict[str, Any]:
        """The figures that the report keeps."""
        return {
            "seconds": self.seconds,
            "clients": _CLIENTS,
            "requests_per_second": self.requests_per_second,
            "fits_ended": self.n_ended,
            "operations": self.tally.as_json(),
            "processes": [growth.as_json() for growth in self.growths],
            "faults": list(self.faults),
        }


def measure(seconds: float = SECONDS, seed: int = 0) -> Loaded:
    """Some clients send good and bad requests for so long, after a warm-up of the same."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-"))
        url, launcher = stack.enter_context(serving(Path(directory), **_LIMITS))
        api = stack.enter_context(httpx.Client(base_url=url, timeout=60))
        ledger = Ledger()
        clients = [_client(api, ledger, f"{seed} {i}") for i in range(_CLIENTS)]
        for client in clients:
            stack.callback(client.close)
        warming, tally = Tally(), Tally()
        drive(clients, warming, _WARM_UP_SECONDS)
        n_ended = n_counted(api)
        with watched(launcher.pid) as watch:
            taken = drive(clients, tally, seconds)
        n_ended = n_counted(api) - n_ended
        growths = watch.growths()
        faults = [*warming.faults, *tally.faults, *watch.faults()]
        for growth in growths:
            faults += growth.faults(n_ended)
        faults += faults_of_ends(api, ledger)
    return Loaded(taken, tally, growths, n_ended, faults)


def _client(api: httpx.Client, ledger: Ledger, seed: str) -> Client:
    address = api.base_url.netloc.decode()
    client = Client(address, "", seed, ledger)
    table = {"columns": good.columns(client)}
    client.dataset = api.post("/v1/datasets", json=table).raise_for_status().json()["id"]
    return client


def drive(clients: Sequence[Client], tally: Tally, seconds: float) -> float:
    """Let every client do one thing after the other for so long; how long that took in the end.

    Raises what an operation raises.
    """
    began = time.perf_counter()
    over = partial(_is_over, began + seconds)
    with ThreadPoolExecutor(len(clients)) as threads:
        for done in [threads.submit(_drive, client, tally, over) for client in clients]:
            done.result()
    return time.perf_counter() - began


def _is_over(moment: float) -> bool:
    return time.perf_counter() > moment


def _drive(client: Client, tally: Tally, over: Callable[[], bool]) -> None:
    client.tally = tally
    mixture = {**good.GOOD, **bad.BAD}
    operations, weights = [*mixture], [*mixture.values()]
    while not over():
        (operation,) = client.dice.choices(operations, weights)
        operation(client)

"""A small fit's POST with `Prefer: wait` to its answer, beside a bare Celery no-op round trip."""

import http.client
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from service.demo import NOTEBOOK
from service.queue import broker_url
from service.schemas.generators import LinearTable
from service.settings import Settings
from service.tables.generators import generate
from tests.benchmarks.bars import at_most
from tests.benchmarks.timing import Timing, interleaved
from tests.stack.conftest import serving

_STEPS = 100
_ROUNDS = 300
_WARM_UP_ROUNDS = 20
# A fit's round trip over the no-op's, at the median.
_BAR = 3.0


def measure() -> list[Timing]:
    """Both round trips, turn by turn on one machine, the service and the peer idle else."""
    with (
        tempfile.TemporaryDirectory(prefix="thalweg-") as directory,
        serving(Path(directory)) as (url, _),
        _noop_round_trip(Settings(data_dir=Path(directory)).redis_address) as noop,
        closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)) as api,
    ):
        return interleaved(
            {
                "bare Celery no-op": noop,
                "POST /v1/fits, dataset by id": _fit(api, _stored_dataset(api)),
                "POST /v1/fits, dataset inline": _fit(api, notebook_columns()),
            },
            _ROUNDS,
            _WARM_UP_ROUNDS,
        )


def bars(timings: list[Timing]) -> dict[str, Any]:
    """What was to be reached beside the no-op, which comes first, and whether it was."""
    noop, *fits = timings
    found = {}
    for fit in fits:
        ratio = fit.median_seconds / noop.median_seconds
        found[fit.name] = at_most(ratio, _BAR)
    return found


def notebook_columns() -> dict[str, Any]:
    """The course notebook's data, as a dataset inside a body."""
    drawn = generate(LinearTable(**NOTEBOOK))
    return {"columns": {name: values.tolist() for name, values in drawn.items()}}


def _stored_dataset(api: http.client.HTTPConnection) -> str:
    _, dataset = _post(api, "/v1/datasets", notebook_columns())
    return str(dataset["id"])


def _fit(api: http.client.HTTPConnection, dataset: str | dict[str, Any]) -> Callable[[], None]:
    spec = {
        "dataset": dataset,
        "target": "y",
        "optimizer": {"kind": "sgd", "lr": 0.01},
        "steps": _STEPS,
        "init": {"weights": {"weight": [[-3.0]], "bias": [-2.0]}},
    }

    def call() -> None:
        status, fit = _post(api, "/v1/fits", spec)
        if status != http.HTTPStatus.OK or len(fit["loss_history"]["loss"]) != _STEPS:
            raise RuntimeError(f"no whole fit came back: {status} {fit}")

    return call


def _post(api: http.client.HTTPConnection, path: str, body: Any) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "Prefer": "wait=60"}
    api.request("POST", path, orjson.dumps(body), headers)
    answer = api.getresponse()
    return answer.status, orjson.loads(answer.read())


@contextmanager
def _noop_round_trip(redis_address: str) -> Iterator[Callable[[], None]]:
    with noop_worker(redis_address) as noop:
        yield lambda: noop.delay().get(timeout=60)


@contextmanager
def noop_worker(redis_address: str) -> Iterator[Any]:
    """The task that does nothing, with two worker processes that do it."""
    os.environ["NOOP_BROKER"] = broker_url(redis_address) + "?virtual_host=1"
    os.environ["NOOP_BACKEND"] = os.environ["NOOP_BROKER"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tests.benchmarks.noop", "worker", "-c", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        from tests.benchmarks import noop  # noqa: PLC0415 (it reads the variables above)

        # Another redis than that of an earlier call.
        task = importlib.reload(noop).noop
        task.delay().get(timeout=60)
        yield task
    finally:
        worker.terminate()
        worker.wait(30)

"""Small fits a second through the whole service, beside a bare Celery task that does nothing."""

import http.client
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from service.settings import Settings
from tests.benchmarks.bars import at_least
from tests.benchmarks.latency import noop_worker, notebook_columns
from tests.stack.conftest import serving

_STEPS = 100
_BATCH = 10_000
_SINGLE = 1_000
_CLIENTS = 8
_ROUNDS = 3
# Independent fits beside the no-op, and fits of one batch a second.
_BARS = {"ratio_to_noop": 1.5, "batch_fits_per_second": 3_000.0}


def measure() -> dict[str, float]:
    """Fits a second: posted one by one, and 10,000 by one call; the median of some rounds.

    The peer is as many messages to as many workers, sent one after the other and then waited for;
    beside that its round trips, each waited for before the next.
    """
    with (
        tempfile.TemporaryDirectory(prefix="thalweg-") as directory,
        serving(Path(directory), THALWEG_LOG_LEVEL="WARNING") as (url, _),
        noop_worker(Settings(data_dir=Path(directory)).redis_address) as noop,
        closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)) as api,
    ):
        dataset = _call(api, "POST", "/v1/datasets", notebook_columns())["id"]
        _batch(api, dataset, 500)
        rounds = [_round(api, dataset, noop) for _ in range(_ROUNDS)]
    figures = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    fits, one_by_one = figures["fits_per_second"], figures["noops_one_by_one_per_second"]
    figures["ratio_to_noop"] = fits / figures["noops_per_second"]
    figures["ratio_to_noops_one_by_one"] = fits / one_by_one
    return figures


def bars(figures: dict[str, float]) -> dict[str, Any]:
    """What was to be reached, and whether it was."""
    return {name: at_least(figures[name], bar) for name, bar in _BARS.items()}


def _round(api: http.client.HTTPConnection, dataset: str, noop: Any) -> dict[str, float]:
    return {
        "noops_per_second": _noops(noop),
        "noops_one_by_one_per_second": _noops_one_by_one(noop),
        "fits_per_second": _fits(api.host, api.port, dataset),
        **_batch(api, dataset, _BATCH),
    }


def _noops(noop: Any) -> float:
    began = time.perf_counter()
    for sent in [noop.delay() for _ in range(_SINGLE)]:
        sent.get(timeout=60)
    return _SINGLE / (time.perf_counter() - began)


def _noops_one_by_one(noop: Any) -> float:
    began = time.perf_counter()
    for _ in range(_SINGLE // 2):
        noop.delay().get(timeout=60)
    return _SINGLE // 2 / (time.perf_counter() - began)


def _fits(host: str, port: int, dataset: str) -> float:
    """Some clients post them, each one after the other, and then wait for the end of all."""

    def client(first: int) -> None:
        with closing(http.client.HTTPConnection(host, port, timeout=120)) as api:
            for i in range(first, _SINGLE, _CLIENTS):
                _call(api, "POST", "/v1/fits", _spec(dataset) | {"seed": i})

    began = time.perf_counter()
    with ThreadPoolExecutor(_CLIENTS) as clients:
        for done in [clients.submit(client, i) for i in range(_CLIENTS)]:
            done.result()
    with closing(http.client.HTTPConnection(host, port, timeout=120)) as api:
        # A look costs little: it would else take its share of what it measures.
        while any(_has_some(api, status) for status in ("queued", "running")):
            time.sleep(0.01)
    return _SINGLE / (time.perf_counter() - began)


def _has_some(api: http.client.HTTPConnection, status: str) -> bool:
    return bool(_call(api, "GET", f"/v1/fits?status={status}&limit=1", None)["data"])


def _batch(api: http.client.HTTPConnection, dataset: str, n: int) -> dict[str, float]:
    grid = {"optimizer.lr": [i / 1000 for i in range(1, 101)], "seed": [*range(n // 100)]}
    began = time.perf_counter()
    batch = _call(api, "POST", "/v1/batches", {"base": _spec(dataset), "grid": grid})
    posted = time.perf_counter() - began
    ended = _wait(api, f"/v1/batches/{batch['id']}")
    if ended["counts"]["succeeded"] != n:
        raise RuntimeError(f"not every fit of the batch succeeded: {ended['counts']}")
    return {
        "batch_post_seconds": posted,
        "batch_fits_per_second": n / (time.perf_counter() - began),
    }


def _spec(dataset: str) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "target": "y",
        "steps": _STEPS,
        "dtype": "float64",
        "init": {"weights": {"weight": [[-3.0]], "bias": [-2.0]}},
    }


def _wait(api: http.client.HTTPConnection, path: str) -> Any:
    while True:
        found = _call(api, "GET", path, None, {"Prefer": "wait=60"})
        if found["finished_at"] is not None:
            return found


def _call(
    api: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str] | None = None,
) -> Any:
    content = None if body is None else orjson.dumps(body)
    api.request(method, path, content, {"Content-Type": "application/json"} | (headers or {}))
    answer = api.getresponse()
    found = orjson.loads(answer.read())
    if answer.status >= http.HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{method} {path}: {answer.status} {found}")
    return found

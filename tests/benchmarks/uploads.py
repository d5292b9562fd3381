"""Tables on their way in: a large JSON body, and a CSV of 2 GB while others use the API."""

import http.client
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv

from service.api.validation import parse_json
from service.schemas.fits import FitRequest
from service.tables.ingest import ingest
from service.tables.inline import inline_pieces
from tests.benchmarks.processes import pids_of, watched
from tests.benchmarks.timing import Timing, interleaved
from tests.stack.conftest import serving

_ROUNDS = 10
_CSV_BYTES = 2 * 10**9
_MOST_GROWTH_BYTES = 150 * 10**6


def measure_inline() -> list[Timing]:
    """100,000 × 10 numbers inside a fit's body, to a validated table with its digest."""
    numbers = np.random.default_rng(0).normal(size=(10, 100_000))
    columns = {f"x{i}": row.tolist() for i, row in enumerate(numbers)}
    body = orjson.dumps({"dataset": {"columns": columns}, "target": "x0", "steps": 1})
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "table.arrow"

        def parse() -> None:
            _dataset(parse_json(FitRequest, body))

        def parse_and_keep() -> None:
            dataset = _dataset(parse_json(FitRequest, body))
            ingest(inline_pieces(dataset, 10**6), "refuse", target)

        def peer() -> None:
            sent = json.loads(body)["dataset"]["columns"]
            np.column_stack([np.array(values) for values in sent.values()])

        return interleaved(
            {
                "json.loads and numpy.array": peer,
                "the body parsed and validated": parse,
                "parsed, checked, summed up, digested, written": parse_and_keep,
            },
            _ROUNDS,
            warm_up_rounds=1,
        )


def _dataset(request: FitRequest) -> Any:
    return request.dataset


def measure_csv() -> dict[str, Any]:
    """A CSV of 2 GB posted by curl; raises RuntimeError past the bound on the API's memory."""
    with tempfile.TemporaryDirectory(prefix="thalweg-") as directory:
        path = Path(directory) / "table.csv"
        _write_csv(path)
        with serving(Path(directory) / "data") as (url, _):
            found = _post(path, url)
        found["parse_alone_seconds"] = _seconds(lambda: _parse(path))
    if found["api_growth_bytes"] > _MOST_GROWTH_BYTES:
        raise RuntimeError(f"the API's memory grew by {found['api_growth_bytes']} bytes")
    return found


def _write_csv(path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(10, 200_000))
    table = pa.table({f"x{i}": row for i, row in enumerate(numbers)})
    with path.open("wb") as file:
        pyarrow.csv.write_csv(table, file)
        options = pyarrow.csv.WriteOptions(include_header=False)
        while file.tell() < _CSV_BYTES:
            pyarrow.csv.write_csv(table, file, options)


def _post(path: Path, url: str) -> dict[str, Any]:
    waits = [_wait(url) for _ in range(100)]
    uploaded = threading.Event()

    def go_on_asking(waits: list[float]) -> None:
        while not uploaded.wait(0.02):
            waits.append(_wait(url))

    during: list[float] = []
    asking = threading.Thread(target=go_on_asking, args=(during,))
    with watched(pids_of("gunicorn")) as watch:
        asking.start()
        seconds = _seconds(lambda: _curl(path, url))
        uploaded.set()
        asking.join()
    return {
        "csv_bytes": path.stat().st_size,
        "seconds": seconds,
        "api_growth_bytes": watch.growth_bytes,
        "other_requests": len(during),
        "other_requests_median_seconds": float(np.median(during)),
        "other_requests_p99_seconds": float(np.quantile(during, 0.99)),
        "idle_median_seconds": float(np.median(waits)),
        "idle_p99_seconds": float(np.quantile(waits, 0.99)),
    }


def _curl(path: Path, url: str) -> None:
    sent = subprocess.run(
        ["curl", "-sf", "-X", "POST", "-T", str(path), "-H", "Content-Type: text/csv",
         f"{url}/v1/datasets"],
        capture_output=True,
        check=True,
    )  # fmt: skip
    if b'"digest"' not in sent.stdout:
        raise RuntimeError(f"no dataset came back: {sent.stdout!r}")


def _parse(path: Path) -> None:
    options = pyarrow.csv.ReadOptions(use_threads=False)
    with pyarrow.csv.open_csv(path, read_options=options) as reader:
        for _ in reader:
            pass


def _wait(url: str) -> float:
    host = url.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        began = time.perf_counter()
        connection.request("GET", "/v1/datasets")
        connection.getresponse().read()
        return time.perf_counter() - began


def _seconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began

"""The jobs that flow while faults are injected: seeded, so that each has one right end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_RNG = np.random.default_rng(7)
_N_ROWS = 80
_X, _Z = _RNG.normal(size=(2, _N_ROWS)).round(4)
_TABLE: dict[str, Any] = {
    "columns": {
        "x": _X.tolist(),
        "z": _Z.tolist(),
        "y": (2 * _X - _Z + 0.1 * _RNG.normal(size=_N_ROWS)).round(4).tolist(),
    }
}
_BASE = {"dataset": _TABLE, "target": "y", "dtype": "float64"}
_NETWORK = {"kind": "mlp", "hidden": [8], "activation": "tanh", "dropout": 0.1}
_LOOP = _BASE | {"strategy": "reference"}


@dataclass(frozen=True)
class Job:
    """A request; the same one has the same end, but where it is cancelled."""

    name: str
    path: str
    body: Mapping[str, Any] = field(hash=False)
    cancelled: bool = False
    webhook: bool = False


def _fit(name: str, base: Mapping[str, Any] = _BASE, **spec: Any) -> Job:
    return Job(name, "/v1/fits", {**base, **spec})


def _network(name: str, **spec: Any) -> Job:
    adam = {"kind": "adam", "lr": 0.01}
    shuffled = {"model": _NETWORK, "optimizer": adam, "batch_size": 16, "seed": 5}
    return _fit(name, _LOOP, **shuffled, **spec)


SHORT = [_fit(f"short {lr}", steps=300, optimizer={"kind": "sgd", "lr": lr}) for lr in
         (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)]  # fmt: skip
MEDIUM = [
    _fit("loop", _LOOP, steps=8_000),
    _network("network", steps=1_500, validation={"fraction": 0.25}),
]
LONG = [
    _fit("long loop", _LOOP, steps=25_000),
    _network("long network", steps=4_000, record={"every": 3}),
]
HOOKED = Job(
    "hooked",
    "/v1/fits",
    _LOOP | {"steps": 3_000, "seed": 9, "webhook": {"url": "…"}},
    webhook=True,
)
ENDLESS = Job("endless", "/v1/fits", _LOOP | {"steps": 5_000_000}, cancelled=True)
RANGE_TEST = Job("range test", "/v1/lr-range-tests", _LOOP | {"num_iter": 100, "seed": 3})
BATCH = Job(
    "batch",
    "/v1/batches",
    {
        "base": _BASE | {"steps": 400},
        "grid": {"optimizer.lr": [0.01, 0.03, 0.1], "seed": [1, 2]},
    },
)
# What is drawn from, the likelier the more often it stands here.
KINDS = (SHORT, SHORT, SHORT, MEDIUM, MEDIUM, LONG, [HOOKED], [ENDLESS], [RANGE_TEST], [BATCH])
ALL = tuple({job.name: job for kind in KINDS for job in kind}.values())


def with_webhook(job: Job, url: str) -> dict[str, Any]:
    """The job's body, with the address that is told of its end where it has one."""
    body = dict(job.body)
    return body | {"webhook": {"url": url}} if job.webhook else body

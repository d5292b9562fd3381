"""What a fit's numbers depend on, written down beside them."""

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
import torch

from service.lifecycle import Claim
from workers.engine import Result

# What says who asked and where the data lie, and changes no number.
_NOT_NUMBERS = ("dataset", "tags", "metadata")


def fingerprint(claim: Claim, result: Result) -> dict[str, Any]:
    """Two fits with the same fingerprint have the same bits."""
    return {
        "versions": _versions(),
        "device": _device(),
        "dtype": claim.spec["dtype"],
        "threads": result.n_threads,
        "seeds": _seeds(claim.spec["seed"]),
        "spec_digest": _digest(claim.spec),
        "dataset_digest": claim.dataset_digest,
        "strategy": result.strategy,
    }


@cache
def _versions() -> dict[str, str]:
    names = ("thalweg", "torch", "numpy", "numba")
    return {name: version(name) for name in names} | {"python": platform.python_version()}


@cache
def _device() -> dict[str, str]:
    return {"kind": "cpu", "instruction_set": torch.backends.cpu.get_cpu_capability()}


def _seeds(seed: int | Mapping[str, int]) -> dict[str, int]:
    if isinstance(seed, int):
        return dict.fromkeys(("init", "shuffle", "split"), seed)
    return dict(seed)


def _digest(spec: Mapping[str, Any]) -> str:
    numbers = {key: value for key, value in spec.items() if key not in _NOT_NUMBERS}
    return (
        "sha256:" + hashlib.sha256(orjson.dumps(numbers, option=orjson.OPT_SORT_KEYS)).hexdigest()
    )

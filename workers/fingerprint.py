"""What a fit's numbers depend on, written down beside them."""

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

import torch

from service.lifecycle import Claim
from workers.engine import LrRangeResult, Result, blas_kind, cpu_vendor


def fingerprint(claim: Claim, result: Result | LrRangeResult) -> dict[str, Any]:
    """Two fits with the same fingerprint have the same bits."""
    return {
        **machine(claim.spec),
        "dtype": claim.spec["dtype"],
        "threads": result.n_threads,
        "seeds": _seeds(claim.spec["seed"]),
        "spec_digest": claim.spec_digest,
        "dataset_digest": claim.dataset_digest,
        "strategy": result.strategy,
        # Why it is not the one that was chosen, if so: a range test is always a plain loop.
        "fallback": result.fallback if isinstance(result, Result) else None,
    }


def machine(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What of a fingerprint is known before the fit: `versions`, and the kind of `device`."""
    return {
        "versions": _versions(),
        "device": _cuda() if spec["device"] == "cuda" else _cpu(),
    }


@cache
def _versions() -> dict[str, str]:
    names = ("thalweg", "torch", "numpy", "numba")
    return {name: version(name) for name in names} | {"python": platform.python_version()}


@cache
def _cpu() -> dict[str, str]:
    return {
        "kind": "cpu",
        "vendor": cpu_vendor(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "blas": blas_kind(),
    }


@cache
def _cuda() -> dict[str, str]:
    return {
        "kind": "cuda",
        "name": torch.cuda.get_device_name(),
        "cuda": str(torch.version.cuda),
    }


def _seeds(seed: int | Mapping[str, int]) -> dict[str, int]:
    if isinstance(seed, int):
        return dict.fromkeys(("init", "shuffle", "split"), seed)
    return dict(seed)

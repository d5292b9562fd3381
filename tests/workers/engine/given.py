"""What the engine's tests start from."""

from typing import Any

import numpy as np

from workers.engine import Data, Specification

# Those of every batch size, and those of steps on all rows.
STRATEGIES = ("reference", "kernels", "large", "streaming")
FULL_BATCH = ("spectral", "normal", *STRATEGIES)
BATCHED = [
    ("spectral", None),
    ("normal", None),
    *((name, size) for name in STRATEGIES for size in (None, 7)),
]


def sgd(**changes: Any) -> dict[str, Any]:
    """A plain SGD with some arguments changed."""
    plain = {
        "kind": "sgd",
        "lr": 0.01,
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "dampening": 0.0,
    }
    return plain | changes


def mapping(**changes: Any) -> dict[str, Any]:
    """A resolved fit's JSON object, with some members changed; 20 steps unless told otherwise."""
    steps = None if "epochs" in changes else 20
    return {
        "model": {"kind": "linear", "bias": True},
        "loss": {"kind": "mse"},
        "penalty": {"l1": 0.0, "l2": 0.0},
        "scheduler": None,
        "clip_grad_norm": None,
        "tolerance": None,
        "standardize": False,
        "validation": None,
        "early_stopping": None,
        "optimizer": sgd(),
        "batch_size": None,
        "shuffle": True,
        "drop_last": False,
        "epochs": None,
        "steps": steps,
        "init": {"kind": "default"},
        "seed": 0,
        "dtype": "float64",
        "device": "auto",
        "record": {"every": 1, "weights": False, "gradients": False},
        "limits": {"max_seconds": 3600},
        "strategy": "auto",
        "dataset": "ds_01",
        "features": ["x"],
        "target": "y",
        "tags": [],
        "metadata": {},
    } | changes


def specification(**changes: Any) -> Specification:
    """The specification of `mapping`."""
    return Specification.from_mapping(mapping(**changes))


def noisy_plane(
    n_rows: int = 50,
    n_features: int = 3,
    n_targets: int = 1,
    seed: int = 0,
    *,
    weighted: bool = False,
) -> Data:
    """Normal features, and targets that are a plane of them and some noise.

    Weights are drawn from 0, 1 and what lies between.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, n_features))
    slopes = rng.normal(size=(n_features, n_targets))
    noise = rng.normal(size=(n_rows, n_targets))
    weight = np.clip(rng.uniform(-0.5, 1.5, n_rows), 0, 1) if weighted else None
    return Data(x=x, y=x @ slopes + 3 + 0.5 * noise, weight=weight)

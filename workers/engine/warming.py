"""What a process does once, so that no fit waits for a compiler or an import."""

from itertools import product
from typing import Any

import numpy as np

from workers.engine.data import Data
from workers.engine.fitting import STRATEGIES, fit
from workers.engine.specification import Specification


def warm_up() -> None:
    """Run tiny fits by every strategy: loops are compiled, or loaded where numba kept them.

    numba keeps them in `NUMBA_CACHE_DIR`, or beside the sources. Takes seconds in the first
    process of a machine.
    """
    x = np.ones((3, 1))
    cases = product((None, np.ones(3)), STRATEGIES, (None, 2), ("float32", "float64"))
    for weight, strategy, batch_size, dtype in cases:
        data = Data(x=x, y=x, weight=weight)
        mapping = _TINY | {"strategy": strategy, "batch_size": batch_size, "dtype": dtype}
        fit(Specification.from_mapping(mapping), data)


_TINY: dict[str, Any] = {
    "model": {"kind": "linear", "bias": True},
    "loss": {"kind": "mse"},
    "penalty": {"l1": 0.0, "l2": 0.0},
    "scheduler": None,
    "clip_grad_norm": None,
    "tolerance": None,
    "standardize": False,
    "validation": None,
    "early_stopping": None,
    "optimizer": {
        "kind": "sgd",
        "lr": 0.1,
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "dampening": 0.0,
    },
    "shuffle": True,
    "drop_last": False,
    "epochs": 1,
    "steps": None,
    "init": {"kind": "default"},
    "seed": 0,
    "device": "cpu",
    "record": {"every": 1, "weights": False, "gradients": False},
    "limits": {"max_seconds": 60},
}

"""What a process does once, so that no fit waits for a compiler or an import."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np

from workers.engine import regression_loops
from workers.engine.compiled import DIRECTORY
from workers.engine.compiling_once import compile_once
from workers.engine.data import Data
from workers.engine.fitting import STRATEGIES, fit
from workers.engine.many import fit_many
from workers.engine.specification import Specification

# What one process of a machine compiles while another one compiles the rest.
_LEAST_SQUARES = ("spectral", "normal")
_STEP_BY_STEP = tuple(name for name in STRATEGIES if name not in _LEAST_SQUARES)


def warm_up() -> None:
    """Run tiny fits by every strategy: loops are compiled, or loaded where numba kept them.

    numba keeps them in `NUMBA_CACHE_DIR`, or beside the sources. The first two processes of a
    machine take a minute for it, for which others wait; any other takes a second.
    """
    compile_once(PARTS, DIRECTORY)


def _step_by_step() -> None:
    for batch_size in (None, 2):
        _run_tiny_fits(_STEP_BY_STEP, batch_size)


def _solve_least_squares() -> None:
    _run_tiny_fits(_LEAST_SQUARES, batch_size=None)
    x = np.ones((3, 1))
    for schedule in _SCHEDULES:
        mapping = _TINY | {
            "strategy": "spectral",
            "dtype": "float64",
            "scheduler": schedule | {"interval": "step"},
        }
        fit(Specification.from_mapping(mapping), Data(x=x, y=x))
    sums = np.zeros((regression_loops.N_SUMS, 1))
    regression_loops.add_rows(sums, 0, x, x)
    regression_loops.told(sums, len(x))


# No loop is in two of them.
PARTS = (_step_by_step, _solve_least_squares)


def _run_tiny_fits(strategies: Iterable[str], batch_size: int | None) -> None:
    x = np.ones((3, 1))
    cases = product((None, np.ones(3)), strategies, ("float32", "float64"))
    for weight, strategy, dtype in cases:
        data = Data(x=x, y=x, weight=weight)
        mapping = _TINY | {"strategy": strategy, "batch_size": batch_size, "dtype": dtype}
        spec = Specification.from_mapping(mapping)
        fit(spec, data)
        fit_many([spec], [data])


# Those whose rates come from compiled loops.
_SCHEDULES: list[dict[str, Any]] = [
    {"kind": "polynomial", "total_iters": 2, "power": 1.0},
    {"kind": "cosine", "T_max": 2, "eta_min": 0.0},
    {"kind": "cosine_warm_restarts", "T_0": 1, "T_mult": 1, "eta_min": 0.0},
    {
        "kind": "one_cycle", "max_lr": 0.1, "total_steps": 3, "pct_start": 0.5,
        "anneal_strategy": "cos", "cycle_momentum": True, "base_momentum": 0.5,
        "max_momentum": 0.9, "div_factor": 2.0, "final_div_factor": 2.0, "three_phase": False,
    },
    {
        "kind": "cyclic", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 1, "step_size_down": None,
        "mode": "triangular", "gamma": 1.0, "cycle_momentum": True, "base_momentum": 0.5,
        "max_momentum": 0.9,
    },
]  # fmt: skip
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
    "batch_size": None,
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

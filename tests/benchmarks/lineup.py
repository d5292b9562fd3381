"""The engine's workloads: who does each of them, and the bars that the engine is held to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tests.benchmarks.workloads import Work

# What a peer's numbers can be held against the engine's in: every step, for it takes the same
# batches from the same start; the end alone, for it shuffles (or draws) by itself; or nothing.
Compared = Literal["steps", "end", "nothing"]


@dataclass(frozen=True)
class Peer:
    """Who takes part: a module of `tests.benchmarks.peers`, and the arguments that it is given.

    `is_ours` where it runs in this environment, and not in the peers' own.
    """

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    compared: Compared = "steps"
    is_ours: bool = False


@dataclass(frozen=True)
class Workload:
    """One row of the report: the engine itself is the first of the peers.

    `tolerance` is relative, of losses one by one and of weights by the largest: how far peers of
    the same steps may be from the engine. `bars`: a peer's time over the engine's, at least.
    """

    name: str
    title: str
    work: Work
    peers: tuple[Peer, ...]
    tolerance: float
    bars: Mapping[str, float]


OURS = Peer("ours", "ours", ("auto",), is_ours=True)
PLAIN = Peer("our plain loop", "ours", ("reference",), is_ours=True)
USUAL = Peer("usual torch loop", "torch_loops", ("usual",))
LOADER = Peer("torch DataLoader loop", "torch_loops", ("dataloader",))
JAX = Peer("JAX jit + scan", "jax_scan")
# It updates row by row, not by batches.
SGD_REGRESSOR = Peer("scikit-learn SGDRegressor", "scikit_learn", compared="end")
MLP_CLASSIFIER = Peer("scikit-learn MLPClassifier", "scikit_learn", compared="end")
ONE_PASS = Peer("one pass: numpy X.T @ X", "one_pass", compared="nothing")

# Rounding alone: other orders of the same sums, in float64.
_ROUNDING = 1e-9
# In float32, and grown with a network's steps.
_SINGLE_ROUNDING = 1e-3
# Among many networks a few have gradients that are rounding alone, which Adam enlarges to whole
# steps; in float64 the same peers are 1e-11 apart.
_ENLARGED_ROUNDING = 5e-2
# Of hundreds of thousands of weights some always have such gradients: only the size is compared.
_OTHER_UNITS = 1.0

WORKLOADS = (
    Workload(
        name="notebook",
        title="The notebook: n = 100, d = 1, 7,000 full-batch steps, float64",
        work=Work("notebook", {"steps": 7_000}),
        peers=(OURS, PLAIN, USUAL, JAX),
        tolerance=_ROUNDING,
        bars={USUAL.name: 1_000, JAX.name: 8},
    ),
    Workload(
        name="wide",
        title="Wide: n = 100,000, d = 100, 200 full-batch steps, float64",
        work=Work("full_batch", {"n_rows": 100_000, "n_features": 100, "steps": 200}),
        peers=(OURS, PLAIN, USUAL, JAX),
        tolerance=_ROUNDING,
        bars={JAX.name: 15},
    ),
    Workload(
        name="wide_adam",
        title="Wide, Adam: n = 100,000, d = 100, 200 full-batch steps, float64",
        work=Work("adaptive", {"n_rows": 100_000, "n_features": 100, "steps": 200}),
        peers=(OURS, PLAIN, USUAL, JAX),
        tolerance=_ROUNDING,
        bars={JAX.name: 15},
    ),
    Workload(
        name="million_rows",
        title="A million rows: d = 100, 200 full-batch steps, float64",
        work=Work("full_batch", {"n_rows": 1_000_000, "n_features": 100, "steps": 200}),
        peers=(OURS, ONE_PASS, USUAL, JAX),
        tolerance=_ROUNDING,
        bars={ONE_PASS.name: 1 / 3},
    ),
    Workload(
        name="mini_batch",
        title="Mini-batches: n = 100,000, d = 20, batches of 32, 1 epoch, float64",
        work=Work(
            "mini_batch", {"n_rows": 100_000, "n_features": 20, "batch_size": 32, "epochs": 1}
        ),
        peers=(OURS, PLAIN, USUAL, LOADER, JAX, SGD_REGRESSOR),
        tolerance=_ROUNDING,
        bars={LOADER.name: 200, JAX.name: 1, SGD_REGRESSOR.name: 1},
    ),
    Workload(
        name="digits",
        title="MLP 64-64-64-10 on the digits: batches of 32, 20 epochs, Adam, float32",
        work=Work("digits", {"epochs": 20}),
        peers=(OURS, PLAIN, USUAL, LOADER, JAX, MLP_CLASSIFIER),
        tolerance=_SINGLE_ROUNDING,
        bars={LOADER.name: 23, JAX.name: 1},
    ),
    Workload(
        name="large_mlp",
        title="Large MLP 784-512-512-10: n = 60,000, batches of 128, 1 epoch, Adam, float32",
        work=Work("images", {"n_rows": 60_000, "epochs": 1}),
        peers=(OURS, PLAIN, USUAL, LOADER, JAX),
        tolerance=_OTHER_UNITS,
        bars={USUAL.name: 1.2, LOADER.name: 1.3},
    ),
    Workload(
        name="large_table",
        title="MLP 20-256-256-1: n = 200,000, batches of 256, 1 epoch, Adam, float32",
        work=Work("surface", {"n_rows": 200_000, "epochs": 1}),
        peers=(OURS, PLAIN, USUAL, LOADER, JAX),
        tolerance=_OTHER_UNITS,
        bars={USUAL.name: 1.1, LOADER.name: 1.6},
    ),
    Workload(
        name="linear_fits",
        title="1,000 linear fits: n = 100, d = 1, 100 full-batch steps each, float64",
        work=Work("planes", {"n_fits": 1_000, "n_rows": 100, "n_features": 1, "steps": 100}),
        peers=(OURS, USUAL, JAX),
        tolerance=_ROUNDING,
        bars={USUAL.name: 2_000},
    ),
    Workload(
        name="network_fits",
        title="200 MLPs 2-16-1: n = 200, 200 full-batch steps of Adam each, float32",
        work=Work("curves", {"n_fits": 200, "n_rows": 200, "n_hidden": 16, "steps": 200}),
        peers=(OURS, USUAL, JAX),
        tolerance=_ENLARGED_ROUNDING,
        bars={USUAL.name: 45},
    ),
)

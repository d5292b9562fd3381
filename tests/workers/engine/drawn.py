"""Specifications of every kind that compiled loops cover, and data that suit them."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.workers.engine.given import mapping
from workers.engine import Data

Spec = dict[str, Any]
Case = tuple[Spec, Data]

SHARES = st.sampled_from([0.0, 0.5, 0.9])
FEW = st.sampled_from([0.0, 0.0, 0.1])
RARELY = st.sampled_from([False, False, False, True])
NUMBERS: list[dict[str, Any]] = [
    {"kind": "mse"},
    {"kind": "mae"},
    {"kind": "huber", "delta": 0.7},
    {"kind": "smooth_l1", "beta": 0.3},
    {"kind": "smooth_l1", "beta": 0.0},
    {"kind": "quantile", "q": 0.8},
    {"kind": "poisson"},
]
HALVES: list[dict[str, Any]] = [
    {"kind": "bce", "pos_weight": None},
    {"kind": "bce", "pos_weight": 3.0},
    {"kind": "hinge"},
]
N_CLASSES = 3
THIRDS: list[dict[str, Any]] = [
    {"kind": "cross_entropy", "label_smoothing": smoothing, "class_weight": weights}
    for smoothing in (0.0, 0.2)
    for weights in (None, [1.0, 2.0, 0.5])
]
ACTIVATIONS = ["relu", "tanh", "sigmoid", "gelu", "silu", "leaky_relu", "identity"]
OUTPUTS = ["auto", "linear", "sigmoid", "tanh", "softplus"]


# Larger steps of rules that scale their gradients leap about: there the last bits of a start
# change the fourth digit of the plain loop's own numbers within twenty steps.
MOST_LR = {"sgd": 0.05, "adam": 0.005, "adamw": 0.005, "rmsprop": 0.005, "adagrad": 0.05}


@st.composite
def optimizers(draw: st.DrawFn) -> dict[str, Any]:
    """One of the rules that are compiled, each argument at its default or not."""
    kind = draw(st.sampled_from([*MOST_LR]))
    lr = draw(st.floats(MOST_LR[kind] / 50, MOST_LR[kind]))
    rate = {
        "kind": kind, "lr": lr, "weight_decay": draw(FEW), "maximize": draw(RARELY),
    }  # fmt: skip
    # A smaller one would make a step of a gradient that is 0 but for rounding.
    eps = {"eps": draw(st.sampled_from([1e-6, 1e-3]))}
    momentum = draw(SHARES)
    if kind == "sgd":
        nesterov = momentum > 0 and draw(st.booleans())
        dampening = 0.0 if nesterov else draw(st.sampled_from([0.0, 0.3]))
        return rate | {"momentum": momentum, "nesterov": nesterov, "dampening": dampening}
    if kind == "rmsprop":
        return rate | eps | {"alpha": 0.9, "momentum": momentum, "centered": draw(st.booleans())}
    if kind == "adagrad":
        decay, initial = draw(FEW), draw(st.sampled_from([0.0, 0.2]))
        return rate | eps | {"lr_decay": decay, "initial_accumulator_value": initial}
    decoupled = {"decoupled_weight_decay": draw(st.booleans())} if kind == "adam" else {}
    betas = {"betas": [draw(SHARES), 0.95], "amsgrad": draw(st.booleans())}
    return rate | eps | betas | decoupled


@st.composite
def schedules(draw: st.DrawFn, optimizer: str) -> dict[str, Any] | None:
    """A schedule that does not look at the loss, or none."""
    kind = draw(st.sampled_from([None, None, "step", "cosine", "one_cycle"]))
    if kind is None:
        return None
    arguments: dict[str, dict[str, Any]] = {
        "step": {"step_size": 3, "gamma": 0.7},
        "cosine": {"T_max": 7, "eta_min": 1e-3},
        "one_cycle": {
            "max_lr": MOST_LR[optimizer], "total_steps": None, "pct_start": 0.4,
            "anneal_strategy": "cos", "cycle_momentum": optimizer != "adagrad",
            "base_momentum": 0.8, "max_momentum": 0.9, "div_factor": 10.0,
            "final_div_factor": 100.0, "three_phase": False,
        },
    }  # fmt: skip
    return {"kind": kind, "interval": draw(st.sampled_from(["step", "epoch"]))} | arguments[kind]


def data_for(loss: dict[str, Any], n_rows: int, n_features: int, seed: int, *, k: int) -> Data:
    """Rows whose targets, k where they are numbers, are such as the loss takes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, n_features))
    y = x @ rng.normal(size=(n_features, k)) + 0.5 * rng.normal(size=(n_rows, k))
    if loss in NUMBERS:
        return Data(x, np.abs(y).round() if loss["kind"] == "poisson" else y)
    n_classes = N_CLASSES if loss in THIRDS else 2
    cuts = np.quantile(y[:, 0], np.arange(1, n_classes) / n_classes)
    classes = np.searchsorted(cuts, y[:, 0])[:, None].astype(float)
    # Losses of two classes read their targets as numbers.
    return Data(x, classes, n_classes=n_classes if loss in THIRDS else None)


def weighted(data: Data, seed: int) -> Data:
    """The rows with weights from 0, 1 and between."""
    weight = np.clip(np.random.default_rng(seed).uniform(-0.5, 1.5, len(data.x)), 0, 1)
    weight[0] = 1.0
    return Data(data.x, data.y, weight, data.n_classes)


@st.composite
def losses_and_models(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A loss, and a model whose numbers it takes."""
    loss = draw(st.sampled_from(NUMBERS) | st.sampled_from(HALVES) | st.sampled_from(THIRDS))
    if draw(st.booleans()):
        model = {
            "kind": "mlp",
            "hidden": draw(st.lists(st.integers(1, 20), max_size=3)),
            "activation": draw(st.sampled_from(ACTIVATIONS)),
            "dropout": 0.0,
            "batch_norm": False,
            "output": draw(st.sampled_from(OUTPUTS)),
        }
        return loss, model
    kind = {"bce": "logistic", "cross_entropy": "softmax"}.get(loss["kind"], "linear")
    return loss, {"kind": kind, "bias": draw(st.booleans())}


@st.composite
def cases(draw: st.DrawFn, most_steps: int = 40) -> Case:
    """A specification and its data."""
    loss, model = draw(losses_and_models())
    n_rows, seed = draw(st.integers(5, 400)), draw(st.integers(0, 100))
    data = data_for(loss, n_rows, draw(st.integers(1, 20)), seed, k=draw(st.integers(1, 3)))
    optimizer = draw(optimizers())
    spec = mapping(
        model=model,
        loss=loss,
        optimizer=optimizer,
        scheduler=draw(schedules(optimizer["kind"])),
        penalty={"l1": draw(FEW), "l2": draw(FEW)},
        clip_grad_norm=draw(st.sampled_from([None, None, 0.5])),
        batch_size=draw(st.none() | st.integers(1, n_rows)),
        shuffle=draw(st.booleans()),
        drop_last=draw(st.booleans()),
        steps=draw(st.integers(1, most_steps)),
        seed=seed,
        record={"every": draw(st.integers(1, 3)), "weights": False, "gradients": False},
    )
    return spec, weighted(data, seed) if draw(st.booleans()) else data

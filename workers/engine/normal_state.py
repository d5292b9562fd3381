"""An optimizer's state as torch keeps it, and as the compiled loop of normal equations does."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.engine import normal_loops as loops
from workers.engine.dtypes import DType, largest
from workers.engine.normal_equations import Layer
from workers.engine.normal_problem import Rule, State
from workers.engine.optimizer_buffers import buffer_names
from workers.engine.optimizers import Optimizer
from workers.engine.snapshot import Snapshot
from workers.engine.specification import Specification

Floats = NDArray[np.float64]

# By the contract's names: the rules that the loop knows.
RULES: Mapping[str, int] = {
    "sgd": loops.SGD,
    "adam": loops.ADAM,
    "adamw": loops.ADAM,
    "adamax": loops.ADAMAX,
    "nadam": loops.NADAM,
    "radam": loops.RADAM,
    "rmsprop": loops.RMSPROP,
    "adagrad": loops.ADAGRAD,
    "adadelta": loops.ADADELTA,
    "asgd": loops.ASGD,
    "rprop": loops.RPROP,
}
# torch's names of what is one number for all parameters, by its place among the counts.
_COUNTS = {"step": 0, "mu_product": 1, "eta": 2, "mu": 3}
_KEPT: Mapping[int, tuple[str, ...]] = {
    loops.SGD: (),
    loops.NADAM: ("step", "mu_product"),
    loops.ASGD: ("step", "eta", "mu"),
}
_MOVING = 4


def rule_of(optimizer: Optimizer, dtype: DType) -> Rule:
    """The optimizer's rule, of parameters of this dtype."""
    of = optimizer.arguments
    etas, sizes = of.get("etas", (0.0, 0.0)), of.get("step_sizes", (0.0, 0.0))
    beta2 = of["betas"][1] if "betas" in of else of.get("alpha", of.get("rho", 0.0))
    decoupled = bool(of.get("decoupled_weight_decay", optimizer.kind == "adamw"))
    weight_decay = float(of.get("weight_decay", 0.0))
    return Rule(
        kind=RULES[optimizer.kind],
        maximize=optimizer.climbs,
        weight_decay=weight_decay,
        decoupled=decoupled and weight_decay != 0.0,
        dampening=float(of.get("dampening", 0.0)),
        nesterov=bool(of.get("nesterov", False)),
        beta2=float(beta2),
        eps=float(of.get("eps", 0.0)),
        amsgrad=bool(of.get("amsgrad", False)),
        centered=bool(of.get("centered", False)),
        lr_decay=float(of.get("lr_decay", 0.0)),
        momentum_decay=float(of.get("momentum_decay", 0.0)),
        lambd=float(of.get("lambd", 0.0)),
        alpha=float(of.get("alpha", 0.0)),
        t0=float(of.get("t0", 0.0)),
        etaminus=float(etas[0]),
        etaplus=float(etas[1]),
        least_step=float(sizes[0]),
        most_step=float(sizes[1]),
        largest=largest(dtype),
    )


def begun(optimizer: Optimizer, layer: Layer, snapshot: Snapshot | None, lr: float) -> State:
    """The state at a layer, before its first update at the rate, or as a snapshot left it."""
    weights = layer.coefficients()
    size = weights.size
    state = State(
        weights=weights.ravel().copy(),
        mean=np.zeros(size),
        square=np.full(size, _first_square(optimizer, lr)),
        other=np.zeros(size),
        # torch keeps them in float32.
        counts=np.array([0.0, 1.0, float(np.float32(lr)), 1.0, 0.0]),
        gradient=np.zeros(size),
        direction=np.zeros(size),
        candidate=np.zeros(size),
        residual=np.zeros(weights.shape),
        best=np.zeros(size),
        watch=np.array([math.inf, 0.0, 0.0]),
        plateau=np.zeros(4),
    )
    states = [] if snapshot is None else snapshot.optimizer
    if any(states):
        _take_up(optimizer, layer, state, states)
    return state


def optimizer_state(spec: Specification, layer: Layer, state: State) -> list[dict[str, Any]]:
    """What torch's optimizer would keep: a dictionary a parameter, none before the first update."""
    optimizer, counts = spec.optimizer, state.counts
    if counts[0] == 0.0 or (optimizer.kind == "sgd" and counts[_MOVING] == 0.0):
        return []
    buffers = {
        name: layer.at(getattr(state, ours)).named()
        for ours, name in buffer_names(optimizer, scheduled=spec.schedule is not None).items()
    }
    numbers = {name: counts[_COUNTS[name]] for name in _counts(optimizer)}
    return [
        {name: np.array(number, np.float32) for name, number in numbers.items()}
        | {name: parts[parameter] for name, parts in buffers.items()}
        for parameter in layer.named()
    ]


def _first_square(optimizer: Optimizer, lr: float) -> float:
    if optimizer.kind == "rprop":
        return lr
    return float(optimizer.arguments.get("initial_accumulator_value", 0.0))


def _take_up(
    optimizer: Optimizer, layer: Layer, state: State, states: list[dict[str, Any]]
) -> None:
    for name in _counts(optimizer):
        state.counts[_COUNTS[name]] = float(np.asarray(states[0][name]))
    names = layer.named()
    for ours, name in buffer_names(optimizer, scheduled=True).items():
        if all(name in of for of in states):
            parts = {p: np.asarray(of[name]) for p, of in zip(names, states, strict=True)}
            getattr(state, ours)[:] = Layer.of(parts).coefficients().ravel()
            state.counts[_MOVING] = 1.0


def _counts(optimizer: Optimizer) -> tuple[str, ...]:
    return _KEPT.get(RULES[optimizer.kind], ("step",))

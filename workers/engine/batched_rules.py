"""The updates of many fits at once: torch.optim's rules, their rates numbers on the device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from workers.engine.optimizers import Optimizer

Arguments = Mapping[str, Any]
State = Mapping[str, torch.Tensor]
# Of the step, counted from 1, at a rate: the numbers that the update needs and that change.
Numbers = Callable[[Arguments, int, float], tuple[float, ...]]
# The parameters (g, …), their gradient, the optimizer's state and the step's numbers (g, 1, 1).
Update = Callable[[Arguments, torch.Tensor, torch.Tensor, State, list[torch.Tensor]], None]


@dataclass(frozen=True, slots=True)
class BatchedRule:
    """An update: what it keeps a parameter, under torch's names, and whether it counts steps."""

    names: Callable[[Arguments], tuple[str, ...]]
    numbers: Numbers
    update: Update
    counts: bool = True


def _decayed(a: Arguments, p: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """The gradient that is descended, with what L2 decay adds to it."""
    g = -g if a.get("maximize", False) else g
    return g + a["weight_decay"] * p if a["weight_decay"] else g


def _sgd_numbers(a: Arguments, step: int, lr: float) -> tuple[float, ...]:
    # The first gradient is the buffer as it is.
    return (lr, 0.0, 1.0) if step == 1 else (lr, a["momentum"], 1.0 - a["dampening"])


def _sgd(
    a: Arguments, p: torch.Tensor, g: torch.Tensor, state: State, numbers: list[torch.Tensor]
) -> None:
    lr, kept, taken = numbers
    g = _decayed(a, p, g)
    if a["momentum"]:
        buffer = state["momentum_buffer"]
        buffer.mul_(kept).add_(taken * g)
        g = g + a["momentum"] * buffer if a["nesterov"] else buffer
    p.sub_(lr * g)


def _adam_numbers(a: Arguments, step: int, lr: float) -> tuple[float, ...]:
    first, second = a["betas"]
    return lr / (1 - first**step), (1 - second**step) ** 0.5, 1 - lr * a["weight_decay"]


def _adamw(
    a: Arguments, p: torch.Tensor, g: torch.Tensor, state: State, numbers: list[torch.Tensor]
) -> None:
    p.mul_(numbers[2])
    _descend_moments(a, p, -g if a.get("maximize", False) else g, state, numbers)


def _adam(
    a: Arguments, p: torch.Tensor, g: torch.Tensor, state: State, numbers: list[torch.Tensor]
) -> None:
    if a.get("decoupled_weight_decay", False):
        _adamw(a, p, g, state, numbers)
    else:
        _descend_moments(a, p, _decayed(a, p, g), state, numbers)


def _descend_moments(
    a: Arguments, p: torch.Tensor, g: torch.Tensor, state: State, numbers: list[torch.Tensor]
) -> None:
    size, root, _ = numbers
    first, second = a["betas"]
    state["exp_avg"].lerp_(g, 1 - first)
    squares = state["exp_avg_sq"]
    squares.mul_(second).addcmul_(g, g, value=1 - second)
    if a["amsgrad"]:
        largest = state["max_exp_avg_sq"]
        squares = torch.maximum(largest, squares, out=largest)
    p.sub_(size * (state["exp_avg"] / (squares.sqrt() / root + a["eps"])))


def _adam_names(a: Arguments) -> tuple[str, ...]:
    return ("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if a["amsgrad"] else []))


def _rmsprop(
    a: Arguments, p: torch.Tensor, g: torch.Tensor, state: State, numbers: list[torch.Tensor]
) -> None:
    (lr,) = numbers
    g = _decayed(a, p, g)
    squares = state["square_avg"].mul_(a["alpha"]).addcmul_(g, g, value=1 - a["alpha"])
    if a["centered"]:
        mean = state["grad_avg"].lerp_(g, 1 - a["alpha"])
        squares = squares - mean * mean
    g = g / (squares.sqrt() + a["eps"])
    if a["momentum"]:
        g = state["momentum_buffer"].mul_(a["momentum"]).add_(g)
    p.sub_(lr * g)


def _rmsprop_names(a: Arguments) -> tuple[str, ...]:
    more = (("momentum_buffer", a["momentum"]), ("grad_avg", a["centered"]))
    return ("square_avg", *(name for name, kept in more if kept))


def _adagrad(
    a: Arguments, p: torch.Tensor, g: torch.Tensor, state: State, numbers: list[torch.Tensor]
) -> None:
    (lr,) = numbers
    g = _decayed(a, p, g)
    squares = state["sum"].addcmul_(g, g)
    p.sub_(lr * (g / (squares.sqrt() + a["eps"])))


# One entry a kind that many fits can be updated by at once.
BATCHED_RULES: Mapping[str, BatchedRule] = {
    "sgd": BatchedRule(
        lambda a: ("momentum_buffer",) if a["momentum"] else (), _sgd_numbers, _sgd, counts=False
    ),
    "adam": BatchedRule(_adam_names, _adam_numbers, _adam),
    "adamw": BatchedRule(_adam_names, _adam_numbers, _adamw),
    "rmsprop": BatchedRule(_rmsprop_names, lambda a, step, lr: (lr,), _rmsprop),
    "adagrad": BatchedRule(
        lambda a: ("sum",),
        lambda a, step, lr: (lr / (1 + (step - 1) * a["lr_decay"]),),
        _adagrad,
    ),
}


def initial_state(optimizer: Optimizer, name: str) -> float:
    """What the optimizer's state of this name begins with."""
    return float(optimizer.arguments["initial_accumulator_value"]) if name == "sum" else 0.0

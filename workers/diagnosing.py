"""What a fit's row says of how it went, and of how it could have gone."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from service.lifecycle import Claim
from workers.coefficients import named_coefficients, shown_weights
from workers.engine import (
    Optimum,
    Result,
    RowSource,
    ScaledRows,
    Specification,
    is_small,
    optimum,
)
from workers.inputs import Loaded
from workers.measuring import finite
from workers.peak_memory import peak_bytes
from workers.taking import Take, everything


def diagnose(
    claim: Claim, spec: Specification, loaded: Loaded, result: Result, take: Take = everything
) -> dict[str, Any]:
    """The contract's diagnostics but for the seconds; those of the closed form where there is one.

    And where `take` takes it. A number that is infinite is None: the condition of a Hessian that is
    singular.
    """
    seconds = result.compute_seconds
    # What a batch norm has seen is kept among the weights, but nothing is fitted there.
    n_parameters = sum(w.size for name, w in result.weights.items() if "running" not in name)
    return {
        "n_parameters": n_parameters,
        "strategy": result.strategy,
        "steps_per_second": result.n_steps / seconds if seconds > 0 else None,
        "peak_memory_bytes": peak_bytes(),
        **(take(partial(_closed_form, claim, spec, loaded, result)) or {}),
    }


def _closed_form(
    claim: Claim, spec: Specification, loaded: Loaded, result: Result
) -> dict[str, Any]:
    scaling = result.scaling
    best = _LATEST.of(spec, result)
    found = None if best is None else best.beside(spec, result.weights)
    if found is None:
        return {}
    return {
        "closed_form": {
            "weights": shown_weights(found.weights),
            "coefficients": named_coefficients(claim, loaded.classes, found.weights, scaling),
            "loss": found.loss,
            "distance": found.distance,
        },
        "condition_number": finite(found.condition_number),
        "max_stable_lr": found.max_stable_lr,
        "best_constant_lr": found.best_constant_lr,
        "steps_to_1e_6": None if spec.optimizer.climbs else found.steps_to_1e_6,
    }


class _Latest:
    """The optimum that was found last: fits that are claimed together often share their rows."""

    def __init__(self) -> None:
        self._rows: RowSource | None = None
        self._asked: tuple[Any, ...] = ()
        self._found: Optimum | None = None

    def of(self, spec: Specification, result: Result) -> Optimum | None:
        """That of the result's training rows."""
        rows, scaling = result.split.train, result.scaling
        if scaling is not None:
            return optimum(spec, ScaledRows(rows, scaling), result.squares)
        asked = (spec.model, spec.loss, spec.penalty)
        if rows is not self._rows or asked != self._asked:
            self._found = optimum(spec, rows, result.squares)
            # Large ones are not held on to, and follow from what each fit has read of them.
            self._rows, self._asked = rows if is_small(rows.shape) else None, asked
        return self._found


_LATEST = _Latest()


def explain_divergence(
    spec: Mapping[str, Any], result: Result, diagnostics: Mapping[str, Any]
) -> dict[str, Any]:
    """The error of a fit whose loss or weights left the finite numbers, with what to do."""
    return {
        "code": "diverged",
        "category": "user",
        "message": (
            f"the loss or a weight was no longer finite at step {result.failed_step}; "
            "the weights are the last finite ones"
        ),
        "step": result.failed_step,
        "hint": _hint(spec, diagnostics),
    }


def _hint(spec: Mapping[str, Any], diagnostics: Mapping[str, Any]) -> str:
    stable, best = (diagnostics.get(name) for name in ("max_stable_lr", "best_constant_lr"))
    if stable is None or best is None:
        return "lower optimizer.lr, or scale the features (standardize)"
    lr = float(spec["optimizer"]["lr"])
    known = (
        f"plain gradient descent on these rows is stable below a learning rate of {stable:.6g} "
        f"(max_stable_lr) and fastest at {best:.6g} (best_constant_lr); optimizer.lr is {lr:g}"
    )
    others = [name for name, departs in _DEPARTURES.items() if departs(spec)]
    if lr >= stable or not others:
        return known
    return f"{known}, and this fit is no plain gradient descent: look at {', '.join(others)}"


# What makes a fit diverge below the rate at which plain descent would.
_DEPARTURES: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "optimizer.kind": lambda spec: spec["optimizer"]["kind"] != "sgd",
    "optimizer.maximize": lambda spec: spec["optimizer"].get("maximize", False),
    "optimizer.momentum": lambda spec: spec["optimizer"].get("momentum", 0) > 0,
    "optimizer.weight_decay": lambda spec: spec["optimizer"].get("weight_decay", 0) > 0,
    "scheduler": lambda spec: spec["scheduler"] is not None,
    "batch_size": lambda spec: spec["batch_size"] is not None,
}

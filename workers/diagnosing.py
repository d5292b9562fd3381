"""What a fit's row says of how it went, and of how it could have gone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from service.lifecycle import Claim
from workers.coefficients import named_coefficients, shown_weights
from workers.engine import (
    Optimum,
    Result,
    RowSource,
    ScaledRows,
    Scaling,
    Specification,
    is_small,
    optimum,
)
from workers.inputs import Loaded
from workers.measuring import finite
from workers.taking import Take, everything


def diagnose(
    claim: Claim, spec: Specification, loaded: Loaded, result: Result, take: Take = everything
) -> dict[str, Any]:
    """The contract's diagnostics but for seconds and memory; a closed form's where there is one.

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
        **(take(partial(_closed_form, claim, spec, loaded, result)) or {}),
    }


def _closed_form(
    claim: Claim, spec: Specification, loaded: Loaded, result: Result
) -> dict[str, Any]:
    best = _LATEST.of(claim, spec, loaded, result)
    found = None if best is None else best.optimum.beside(spec, result.weights)
    if best is None or found is None:
        return {}
    return {
        "closed_form": {
            "weights": best.weights,
            "coefficients": best.coefficients,
            "loss": found.loss,
            "distance": found.distance,
        },
        "condition_number": finite(found.condition_number),
        "max_stable_lr": found.max_stable_lr,
        "best_constant_lr": found.best_constant_lr,
        "steps_to_1e_6": None if spec.optimizer.climbs else found.steps_to_1e_6,
    }


@dataclass(frozen=True)
class _Best:
    """An optimum, and its weights as an answer shows them."""

    optimum: Optimum
    weights: dict[str, Any] | None
    coefficients: dict[str, Any] | None

    @classmethod
    def of(
        cls, claim: Claim, loaded: Loaded, found: Optimum | None, scaling: Scaling | None
    ) -> Self | None:
        """That of the claim's rows, where there is one."""
        if found is None:
            return None
        coefficients = named_coefficients(claim, loaded.columns, found.weights, scaling)
        return cls(found, shown_weights(found.weights), coefficients)


class _Latest:
    """The optimum that was found last: fits that are claimed together often share their rows."""

    def __init__(self) -> None:
        self._rows: RowSource | None = None
        self._asked: tuple[Any, ...] = ()
        self._found: _Best | None = None

    def of(self, claim: Claim, spec: Specification, loaded: Loaded, result: Result) -> _Best | None:
        """That of the result's training rows."""
        rows, scaling = result.split.train, result.scaling
        if scaling is not None:
            found = optimum(spec, ScaledRows(rows, scaling), result.squares)
            return _Best.of(claim, loaded, found, scaling)
        asked = (spec.model, spec.loss, spec.penalty)
        if rows is self._rows and asked == self._asked:
            return self._found
        best = _Best.of(claim, loaded, optimum(spec, rows, result.squares), None)
        # Large ones are not held on to, and follow from what each fit has read of them.
        if is_small(rows.shape):
            self._rows, self._asked, self._found = rows, asked, best
        return best


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

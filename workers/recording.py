"""An engine's result → the facts about a fit that clients read."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.lifecycle import Claim
from service.tables.encoding import encode
from workers.engine import (
    History,
    Progress,
    Result,
    Scaling,
    Specification,
    Trajectory,
)
from workers.fingerprint import fingerprint
from workers.inputs import Label, Loaded
from workers.measuring import finite, measure

_MOST_POINTS = 1_000
_MOST_SHOWN_WEIGHTS = 10_000

Arrays = dict[str, NDArray[Any]]


def history_arrays(history: History) -> Arrays:
    """The history under the artifact's names; every array 1-d."""
    return {
        "step": history.step,
        "epoch": history.epoch,
        "loss": history.loss,
        "lr": history.lr,
        "grad_norm": history.grad_norm,
        "epochs.epoch": history.epochs_epoch,
        "epochs.train_loss": history.epochs_train_loss,
        "epochs.validation_loss": history.epochs_validation_loss,
    }


def kept_arrays(record: Mapping[str, Any], result: Result) -> dict[str, Arrays]:
    """What is kept beside the row, by the artifact's name."""
    kept: dict[str, Arrays] = {"weights": result.weights}
    if record["final_weights_only"]:
        return kept
    kept["initial_weights"] = result.initial_weights
    kept["history"] = history_arrays(result.history)
    # The state of a fit that diverged leads nowhere.
    if result.failed_step is None:
        kept["state"] = result.snapshot.to_arrays()
    if result.trajectory is not None:
        kept["trajectory"] = trajectory_arrays(result.trajectory)
    return kept


def trajectory_arrays(trajectory: Trajectory) -> Arrays:
    """The trajectory under the artifact's names: an entry a step."""
    gradients = {f"gradients.{name}": array for name, array in trajectory.gradients.items()}
    return {"step": trajectory.step, **trajectory.weights, **gradients}


def describe_result(claim: Claim, loaded: Loaded, result: Result) -> dict[str, Any]:
    """What the fit's row keeps: weights, coefficients, losses, metrics, where they came from."""
    # What a batch norm has seen is kept among the weights, but nothing is fitted there.
    n_parameters = sum(w.size for name, w in result.weights.items() if "running" not in name)
    seconds = result.compute_seconds
    held_out = result.split.validation
    only_weights = claim.spec["record"]["final_weights_only"]
    spec = Specification.from_mapping(claim.spec)
    measured = partial(measure, spec, result.weights, result.scaling, loaded.classes)
    return {
        "weights": _shown_weights(result.weights, n_parameters),
        "coefficients": _coefficients(claim, loaded.classes, result),
        "standardization": _standardization(result.scaling),
        "classes": loaded.classes,
        # Cancelled as it comes to its end, a fit is told as cancelled, but was not cut short.
        "ended_as": result.status,
        "final_loss": finite(result.final_loss),
        "loss_history": None if only_weights else thin(result.history),
        "metrics": {
            "train": measured(result.split.train),
            "validation": None if held_out is None else measured(held_out),
        },
        "diagnostics": {
            "n_parameters": n_parameters,
            "strategy": result.strategy,
            "steps_per_second": result.n_steps / seconds if seconds > 0 else None,
        },
        "fingerprint": fingerprint(claim, result),
        "progress": _last_progress(result),
    }


def thin(history: History) -> dict[str, Any]:
    """At most 1,000 evenly kept points of the history, the first and the last among them."""
    n = len(history.step)
    kept = np.arange(n)
    if n > _MOST_POINTS:
        kept = np.linspace(0, n - 1, _MOST_POINTS).round().astype(np.int64)
    return {
        "step": history.step[kept].tolist(),
        "loss": history.loss[kept].tolist(),
        "n": n,
        "thinned": n > _MOST_POINTS,
    }


def _shown_weights(weights: Mapping[str, NDArray[Any]], n_parameters: int) -> Any:
    if n_parameters > _MOST_SHOWN_WEIGHTS:
        return None
    return {name: array.tolist() for name, array in weights.items()}


def _standardization(scaling: Scaling | None) -> dict[str, list[float]] | None:
    if scaling is None:
        return None
    return {"mean": scaling.mean.tolist(), "std": scaling.std.tolist()}


def _coefficients(claim: Claim, classes: list[Label] | None, result: Result) -> Any:
    """By feature's label, in the data's own units; by target or class first where there are many.

    None of a model that has no one number for a feature.
    """
    weights: Mapping[str, NDArray[Any]] = result.weights
    if "weight" not in weights:
        return None
    if result.scaling is not None:
        weights = result.scaling.in_own_units(weights)
    labels = encode(claim.spec["features"], claim.columns, claim.spec["model"]).labels
    target = claim.spec["target"]
    if claim.spec["loss"]["kind"] == "cross_entropy":
        outputs = [str(label) for label in classes or ()]
    elif isinstance(target, str):
        return _named_row(labels, weights, 0)
    else:
        outputs = target
    return {name: _named_row(labels, weights, i) for i, name in enumerate(outputs)}


def _named_row(labels: list[str], weights: Mapping[str, NDArray[Any]], i: int) -> dict[str, float]:
    named = dict(zip(labels, weights["weight"][i].tolist(), strict=True))
    if "bias" not in weights:
        return named
    return {"intercept": float(weights["bias"][i]), **named}


def progress_of(progress: Progress, elapsed_seconds: float) -> dict[str, Any]:
    """The running fit's progress, with the time left at the speed so far."""
    fraction = progress.step / progress.total_steps
    return {
        "fraction": fraction,
        "step": progress.step,
        "total_steps": progress.total_steps,
        "epoch": progress.epoch,
        "loss": finite(progress.loss),
        "lr": progress.lr,
        "eta_seconds": elapsed_seconds * (1 - fraction) / fraction if fraction else None,
    }


def _last_progress(result: Result) -> dict[str, Any]:
    history = result.history
    done = result.status in ("completed", "converged", "early_stopped")
    return {
        "fraction": 1.0 if done else result.n_steps / result.total_steps,
        "step": result.n_steps,
        "total_steps": result.total_steps,
        "epoch": int(history.epoch[-1]) if len(history.epoch) else 0,
        "loss": finite(result.final_loss),
        "lr": float(history.lr[-1]) if len(history.lr) else None,
        "eta_seconds": 0.0,
    }


def describe_divergence(result: Result) -> dict[str, Any]:
    """The error of a fit whose loss or weights left the finite numbers."""
    return {
        "code": "diverged",
        "category": "user",
        "message": (
            f"the loss or a weight was no longer finite at step {result.failed_step}; "
            "the weights are the last finite ones"
        ),
        "step": result.failed_step,
        "hint": "lower optimizer.lr, or scale the features",
    }

"""An engine's result → the facts about a fit that clients read."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.lifecycle import Claim
from workers.coefficients import named_coefficients, shown_weights
from workers.diagnosing import diagnose
from workers.engine import (
    History,
    Progress,
    Result,
    Scaling,
    Specification,
    Trajectory,
    loss_over,
)
from workers.fingerprint import fingerprint
from workers.inputs import Loaded
from workers.measuring import finite, measure
from workers.taking import Take, everything

_MOST_POINTS = 1_000

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


def describe_result(
    claim: Claim, spec: Specification, loaded: Loaded, result: Result, take: Take = everything
) -> dict[str, Any]:
    """What the fit's row keeps: weights, coefficients, losses, metrics, where they came from.

    What takes a pass over rows, or decomposes what one tells, is what `take` takes.
    """
    held_out = result.split.validation
    only_weights = claim.spec["record"]["final_weights_only"]
    measured = partial(measure, spec, result.weights, result.scaling, loaded.classes)
    return {
        "weights": shown_weights(result.weights),
        "coefficients": named_coefficients(claim, loaded.columns, result.weights, result.scaling),
        "standardization": _standardization(result.scaling),
        "classes": loaded.classes,
        # Cancelled as it comes to its end, a fit is told as cancelled, but was not cut short.
        "ended_as": result.status,
        "final_loss": finite(result.final_loss),
        **(take(partial(_validation_loss, claim, spec, result)) or {}),
        "loss_history": None if only_weights else thin(result.history),
        "metrics": {
            "train": take(partial(measured, result.split.train)),
            "validation": None if held_out is None else take(partial(measured, held_out)),
        },
        "diagnostics": diagnose(claim, spec, loaded, result, take),
        "fingerprint": fingerprint(claim, result),
        "progress": _last_progress(result),
    }


def _validation_loss(claim: Claim, spec: Specification, result: Result) -> dict[str, float | None]:
    """The loss over the held-out rows, where the best of a batch is chosen by it."""
    held_out = result.split.validation
    if claim.metric != "validation.loss" or held_out is None:
        return {}
    loss = loss_over(spec, result.weights, held_out, result.scaling, ran=result.strategy)
    return {"validation_loss": finite(loss)}


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


def _standardization(scaling: Scaling | None) -> dict[str, list[float]] | None:
    if scaling is None:
        return None
    return {"mean": scaling.mean.tolist(), "std": scaling.std.tolist()}


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

"""A job's row → the job as clients see it, without the URLs that the edge adds."""

from collections.abc import Mapping
from typing import Any

from service.checking import all_failed, not_evaluated
from service.ids import rfc3339
from service.resolution import n_training_rows, steps_an_epoch
from service.schemas.fits import Validation

# What the worker fills in, and null before.
_RESULT_KEYS = (
    "weights",
    "coefficients",
    "final_loss",
    "loss_history",
    "metrics",
    "diagnostics",
    "fingerprint",
)
_CURVE_KEYS = ("lr", "loss", "raw_loss", "suggestion", "reason", "stop_reason")


def fit_body(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fit's answer body; `row` has the dataset's `digest` and `n_rows` beside the fit's own."""
    result = row.get("result") or {}
    return {
        **_head(row, "fit"),
        "progress": _progress(row, result, _total_steps(row)),
        **{key: result.get(key) for key in _RESULT_KEYS},
        # The kinds alone: where they are is the edge's to say.
        "plots": result.get("plots", []),
        "checks": checks_of(row),
        **_tail(row),
    }


def checks_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the checks that came with the fit came to.

    Before its end, and where it has no end of its own making, none of them is evaluated.
    """
    checks = row["spec"].get("checks", [])
    result, error = row.get("result") or {}, row.get("error") or {}
    if row["status"] == "cancelled":
        return not_evaluated(checks, "the fit was cancelled")
    if "checks" in result:
        return list(result["checks"])
    if row["status"] != "failed":
        return not_evaluated(checks, f"the fit has not ended: it is {row['status']}")
    reason = f"the fit failed: {error.get('message', 'for no known reason')}"
    if error.get("category") == "user":
        return all_failed(checks, reason)
    return not_evaluated(checks, reason)


def lr_range_test_body(row: Mapping[str, Any]) -> dict[str, Any]:
    """The range test's answer body, of a row as `fit_body` takes it."""
    result = row.get("result") or {}
    return {
        **_head(row, "lr_range_test"),
        "progress": _progress(row, result, row["spec"]["num_iter"]),
        "result": {key: result[key] for key in _CURVE_KEYS} if result else None,
        "diagnostics": result.get("diagnostics"),
        "fingerprint": result.get("fingerprint"),
        **_tail(row),
    }


def _head(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": name,
        "status": row["status"],
        "stop_reason": row.get("stop_reason"),
        "created_at": rfc3339(row["created_at"]),
        "started_at": rfc3339(row.get("started_at")),
        "finished_at": rfc3339(row.get("finished_at")),
        "expires_at": rfc3339(row.get("expires_at")),
        "attempt": row["attempt"],
        "spec": row["spec"],
        "dataset": {"id": row["dataset_id"], "digest": row["digest"], "n_rows": row["n_rows"]},
    }


def _tail(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": row.get("error"), "tags": row["tags"], "metadata": row["metadata"]}


def _total_steps(row: Mapping[str, Any]) -> int:
    spec = row["spec"]
    held_out = spec["validation"] or {}
    n_rows = row["n_rows"]
    if "fraction" in held_out:
        n_rows = n_training_rows(n_rows, Validation(**held_out))
    an_epoch = steps_an_epoch(n_rows, spec["batch_size"], spec["drop_last"])
    return int(spec["steps"] or spec["epochs"] * an_epoch)


def _progress(
    row: Mapping[str, Any], result: Mapping[str, Any], total_steps: int
) -> dict[str, Any]:
    last = result.get("progress") or row.get("progress")
    if last is not None:
        return dict(last)
    return {
        "fraction": 0.0,
        "step": 0,
        "total_steps": total_steps,
        "epoch": 0,
        "loss": None,
        "lr": None,
        "eta_seconds": None,
    }

"""What of a fit can be checked, by the names that its answer and its artifacts have."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.errors import Place
from service.pointers import pointer
from service.suitability import OF_CLASSES

METRICS_OF_NUMBERS = ("mse", "rmse", "mae", "r2", "max_error")
METRICS_OF_CLASSES = (
    "accuracy", "log_loss", "precision", "recall", "f1", "roc_auc", "confusion_matrix",
)  # fmt: skip
HISTORY_LISTS = ("loss", "lr", "grad_norm")


def target_places(
    checks: Sequence[Mapping[str, Any]],
    spec: Mapping[str, Any],
    labels: Sequence[str],
    weights: Sequence[str],
) -> list[Place]:
    """The targets that a fit of this spec cannot have, and what no array can be compared with.

    `labels` are the features' and `weights` the names of its weights.
    """
    if not checks:
        return []
    known = set(_targets(spec, labels, weights))
    # Which classes there are is known when the rows have been read.
    scored = spec["loss"]["kind"] == "cross_entropy" and spec["model"]["kind"] != "mlp"
    ends = tuple(f".{label}" for label in _coefficients(spec, labels)) if scored else ()
    places = []
    for i, check in enumerate(checks):
        target = check["target"]
        of_a_class = bool(ends) and target.startswith("coefficients.") and target.endswith(ends)
        if target not in known and not of_a_class:
            detail = _unknown(target, sorted(known))
            places.append(Place("unknown_target", detail, pointer("checks", i, "target")))
        elif isinstance(check["expected"], Mapping) != (target == "trajectory"):
            detail = "a trajectory is checked by arrays under the weights' names, nothing else is"
            places.append(Place("not_comparable", detail, pointer("checks", i, "expected")))
    return places


def _targets(
    spec: Mapping[str, Any], labels: Sequence[str], weights: Sequence[str]
) -> Iterator[str]:
    yield "final_loss"
    yield "predictions"
    yield from (f"weights.{name}" for name in weights)
    if spec["model"]["kind"] != "mlp" and spec["loss"]["kind"] != "cross_entropy":
        target = spec["target"]
        outputs = [""] if isinstance(target, str) else [f"{name}." for name in target]
        names = _coefficients(spec, labels)
        yield from (f"coefficients.{output}{name}" for output in outputs for name in names)
    if not spec["record"]["final_weights_only"]:
        yield from (f"loss_history.{name}" for name in HISTORY_LISTS)
    if spec["record"]["weights"]:
        yield "trajectory"
    of_classes = spec["loss"]["kind"] in OF_CLASSES
    parts = ["train"] if spec["validation"] is None else ["train", "validation"]
    for part in parts:
        for metric in METRICS_OF_CLASSES if of_classes else METRICS_OF_NUMBERS:
            yield f"metrics.{part}.{metric}"


def _coefficients(spec: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    return [*(["intercept"] if spec["model"].get("bias", False) else []), *labels]


def _unknown(target: str, known: Sequence[str]) -> str:
    below = [name for name in known if name.startswith(f"{target}.")]
    if below:
        return f"this fit has no {target!r} as a whole; it has {', '.join(below[:20])}"
    close = difflib.get_close_matches(target, known, n=1)
    if close:
        return f"this fit has no {target!r}; did you mean {close[0]!r}?"
    return f"this fit has no {target!r}; it has {', '.join(known[:20])}"

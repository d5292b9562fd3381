"""What was found beside what was expected: numpy's `isclose` rule, and the first departure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

_HISTORY = "loss_history"
_PASSED, _FAILED, _NOT_EVALUATED = "passed", "failed", "not_evaluated"


@dataclass(frozen=True)
class Found:
    """A fit's numbers: its result, its arrays by an artifact's name, and what it predicts.

    `predictions` are those for the rows of the fit's own dataset, in their order.
    """

    result: Mapping[str, Any]
    arrays: Callable[[str], Arrays]
    predictions: Callable[[], NDArray[Any]]


class _Part(NamedTuple):
    """One array of a target, and the step of each of its entries where it has steps."""

    actual: NDArray[Any]
    steps: NDArray[Any] | None = None


def evaluate(checks: Sequence[Mapping[str, Any]], found: Found) -> list[dict[str, Any]]:
    """Each check beside what it came to; what the fit has not is `failed`."""
    return [_evaluate(check, found) for check in checks]


def not_evaluated(checks: Sequence[Mapping[str, Any]], reason: str) -> list[dict[str, Any]]:
    """Every check, none of which says anything of the numbers."""
    return [_said(check, _NOT_EVALUATED, reason) for check in checks]


def all_failed(checks: Sequence[Mapping[str, Any]], reason: str) -> list[dict[str, Any]]:
    """Every check of a fit that could not be made as it was asked for."""
    return [_said(check, _FAILED, reason) for check in checks]


def summary(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The checks with their score; null where one was not evaluated, which is no score."""
    whole = all(one["status"] != _NOT_EVALUATED for one in outcomes)
    points = sum(one["points"] for one in outcomes if one["status"] == _PASSED)
    return {
        "checks": list(outcomes),
        "score": points if whole else None,
        "max_score": sum(one["points"] for one in outcomes),
        "passed": all(one["status"] == _PASSED for one in outcomes) if whole else None,
    }


def _evaluate(check: Mapping[str, Any], found: Found) -> dict[str, Any]:
    parts = _parts(check["target"], found)
    expected = check["expected"]
    if parts is None:
        return _said(check, _FAILED, "the fit has no such number: it is not finite, or not there")
    if isinstance(expected, Mapping):
        return _compare_all(check, parts, expected)
    return _compare_all(check, parts, {"": expected})


def _compare_all(
    check: Mapping[str, Any], parts: Mapping[str, _Part], expected: Mapping[str, Any]
) -> dict[str, Any]:
    """The worst of the arrays decides."""
    if set(parts) != set(expected):
        there, asked = (", ".join(map(repr, sorted(names))) for names in (parts, expected))
        return _said(check, _FAILED, f"there are the arrays {there}, not {asked}")
    outcomes = [
        _compare(check, name, part, np.asarray(expected[name])) for name, part in parts.items()
    ]
    failed = [one for one in outcomes if one["status"] == _FAILED]
    worst = max(failed or outcomes, key=lambda one: one["max_abs_difference"] or 0.0)
    steps = [one["first_step"] for one in failed if one["first_step"] is not None]
    return worst | {"first_step": min(steps, default=None)}


def _compare(
    check: Mapping[str, Any], name: str, part: _Part, expected: NDArray[Any]
) -> dict[str, Any]:
    actual = np.asarray(part.actual)
    if actual.shape != expected.shape:
        return _said(
            check, _FAILED, f"the shape is {_shown(actual)}, not {_shown(expected)}",
            first_step=_where_they_part(check, part, actual, expected),
        )  # fmt: skip
    if _is_text(actual) or _is_text(expected):
        actual, expected = actual.astype(str), expected.astype(str)
        close = actual == expected
        differences = np.where(close, 0.0, np.nan)
    else:
        actual, expected = actual.astype(np.float64), expected.astype(np.float64)
        close = _close(check, actual, expected)
        with np.errstate(all="ignore"):
            differences = np.abs(actual - expected)
    index = _largest(differences)
    where = [*([name] if name else []), *index]
    said = partial(
        _said, check, max_abs_difference=_number(differences, index), index=where or None
    )
    if close.all():
        return said(_PASSED, "every entry is within the tolerance")
    first = _first_apart(close) if index else 0
    first_step = None if part.steps is None else int(part.steps[first])
    reason = _departure(check, actual, expected, close, index)
    return said(_FAILED, reason, first_step=first_step)


def _departure(
    check: Mapping[str, Any],
    actual: NDArray[Any],
    expected: NDArray[Any],
    close: NDArray[np.bool_],
    index: tuple[int, ...],
) -> str:
    got, wanted = actual[index].item(), expected[index].item()
    if isinstance(wanted, str):
        told = f"{got!r} was found where {wanted!r} is expected"
    else:
        allowed = check["atol"] + check["rtol"] * abs(wanted)
        told = f"{got!r} was found where {wanted!r} ± {allowed:.3g} is expected"
    if not index:
        return told
    return f"{int((~close).sum())} of {close.size} entries differ; at {list(index)} {told}"


def _parts(target: str, found: Found) -> dict[str, _Part] | None:
    """The target's arrays; None where the fit has none of them, or no number."""
    kind, _, name = target.partition(".")
    if kind == "weights":
        return {"": _Part(found.arrays("weights")[name])}
    if kind == _HISTORY:
        history = found.arrays("history")
        return {"": _Part(history[name], history["step"])}
    if kind == "trajectory":
        recorded = found.arrays("trajectory")
        return {
            name: _Part(array, recorded["step"])
            for name, array in recorded.items()
            if name != "step" and not name.startswith("gradients.")
        }
    if kind == "predictions":
        return {"": _Part(found.predictions())}
    number = _number_at(target, found.result)
    return None if number is None else {"": _Part(np.asarray(number))}


def _number_at(target: str, result: Mapping[str, Any]) -> Any:
    kind, _, name = target.partition(".")
    if kind == "final_loss":
        return result["final_loss"]
    if kind == "metrics":
        part, _, metric = name.partition(".")
        return (result["metrics"][part] or {}).get(metric)
    return _coefficient(result["coefficients"] or {}, name)


def _coefficient(coefficients: Mapping[str, Any], name: str) -> Any:
    """Names may hold points: the longest output's name that leaves a feature's decides."""
    if not isinstance(coefficients.get(name), Mapping) and name in coefficients:
        return coefficients[name]
    return next(
        (
            by_feature[name.removeprefix(f"{output}.")]
            for output, by_feature in coefficients.items()
            if isinstance(by_feature, Mapping)
            and name.removeprefix(f"{output}.") in by_feature
            and name.startswith(f"{output}.")
        ),
        None,
    )


def _where_they_part(
    check: Mapping[str, Any], part: _Part, actual: NDArray[Any], expected: NDArray[Any]
) -> int | None:
    """The first step of two histories, one of them longer, at which they differ.

    None where these are none, or the fit ends too soon without having differed.
    """
    histories = part.steps is not None and expected.ndim == actual.ndim > 0
    if not histories or actual.shape[1:] != expected.shape[1:] or _is_text(expected):
        return None
    n = min(len(actual), len(expected))
    shared = (side[:n].astype(np.float64) for side in (actual, expected))
    first = _first_apart(_close(check, *shared))
    return int(part.steps[first]) if part.steps is not None and first < len(actual) else None


def _is_text(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "UO"


def _close(
    check: Mapping[str, Any], actual: NDArray[np.float64], expected: NDArray[np.float64]
) -> NDArray[np.bool_]:
    with np.errstate(all="ignore"):
        return np.asarray(np.isclose(actual, expected, check["rtol"], check["atol"]))


def _first_apart(close: NDArray[np.bool_]) -> int:
    """The first row that is not close; behind the last one where all are."""
    n_rows, *rest = close.shape
    apart = np.flatnonzero(~close.reshape(n_rows, math.prod(rest)).all(axis=1))
    return int(apart[0]) if apart.size else n_rows


def _largest(differences: NDArray[np.float64]) -> tuple[int, ...]:
    """Where the largest difference is; what is no number comes first."""
    if not differences.size:
        return ()
    flat = np.where(np.isnan(differences), np.inf, differences).argmax()
    return tuple(int(i) for i in np.unravel_index(flat, differences.shape))


def _number(differences: NDArray[np.float64], index: tuple[int, ...]) -> float | None:
    if not differences.size:
        return 0.0
    largest = float(differences[index])
    return largest if np.isfinite(largest) else None


def _shown(array: NDArray[Any]) -> str:
    return "×".join(map(str, array.shape)) or "a single number"


def _said(
    check: Mapping[str, Any],
    status: str,
    reason: str,
    *,
    max_abs_difference: float | None = None,
    first_step: int | None = None,
    index: list[Any] | None = None,
) -> dict[str, Any]:
    return {
        "target": check["target"],
        "name": check["name"],
        "hidden": check["hidden"],
        "status": status,
        "points": check["points"],
        "max_abs_difference": max_abs_difference,
        "first_step": first_step,
        "index": index,
        "reason": reason,
    }

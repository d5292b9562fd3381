"""Weights as an answer shows them: by their own names, and by the features'."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from service.lifecycle import Claim
from workers.engine import Scaling
from workers.inputs import Columns

Arrays = Mapping[str, NDArray[Any]]

_MOST_SHOWN_WEIGHTS = 10_000


def shown_weights(weights: Arrays) -> dict[str, Any] | None:
    """Nested lists by their state_dict names; None past 10,000 numbers."""
    # What a batch norm has seen is no weight.
    n_numbers = sum(array.size for name, array in weights.items() if "running" not in name)
    if n_numbers > _MOST_SHOWN_WEIGHTS:
        return None
    return {name: array.tolist() for name, array in weights.items()}


def named_coefficients(
    claim: Claim, columns: Columns, weights: Arrays, scaling: Scaling | None
) -> dict[str, Any] | None:
    """By feature's label, in the data's own units; by target or class first where there are many.

    None of a model that has no one number for a feature.
    """
    if "weight" not in weights:
        return None
    if scaling is not None:
        weights = scaling.in_own_units(weights)
    labels = columns.features.labels
    if columns.scored:
        outputs = [str(label) for label in columns.classes or ()]
    elif isinstance(claim.spec["target"], str):
        return _named_row(labels, weights, 0)
    else:
        outputs = columns.targets
    return {name: _named_row(labels, weights, i) for i, name in enumerate(outputs)}


def _named_row(labels: list[str], weights: Arrays, i: int) -> dict[str, float]:
    named = dict(zip(labels, weights["weight"][i].tolist(), strict=True))
    if "bias" not in weights:
        return named
    return {"intercept": float(weights["bias"][i]), **named}

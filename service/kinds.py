"""The kinds of jobs that have a fit's life."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.representation import fit_body, lr_range_test_body


@dataclass(frozen=True)
class Kind:
    """How a kind's jobs are told apart: in the database, by their ids, in words and in answers."""

    name: str
    id_prefix: str
    noun: str
    body: Callable[[Mapping[str, Any]], dict[str, Any]]


FIT = Kind("fit", "fit", "fit", fit_body)
LR_RANGE_TEST = Kind("lr_range_test", "lrt", "learning-rate range test", lr_range_test_body)

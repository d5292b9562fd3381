"""An ended fit as its pictures see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.artifacts import load_arrays
from service.context import Context
from service.errors import NotFound
from service.resolution import n_training_rows
from service.schemas.fits import Validation
from service.starts import START_STATE
from workers.engine import Data, Snapshot, answers
from workers.engine.batches import Batches, cut_batches
from workers.fitted import Fitted
from workers.fitted_rows import opened_split, sampled

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]

MOST_POINTS = 20_000
# A picture is waited for: this many weights times rows take a second or so.
_MOST_WORK = 5_000_000_000
_FEWEST_POINTS = 200
# Of a network's activations at a time.
_MOST_NUMBERS = 8_000_000


@dataclass(frozen=True)
class Part:
    """Evenly kept rows in their own units, of the `n_rows` that there are of their part."""

    data: Data
    n_rows: int


@dataclass(frozen=True)
class Rows:
    """The rows that a fit was made on, and those that were held out, if any."""

    train: Part
    validation: Part | None

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that there are, by what they are called in pictures."""
        held_out = {} if self.validation is None else {"validation": self.validation}
        return {"training": self.train, **held_out}


@dataclass(frozen=True)
class Path:
    """The weights at recorded steps (m,): an entry a step under their state_dict names.

    Where the fit `arrived`, the last entry is what it ended with; it did not where the best
    epoch's weights were taken back in the end.
    """

    step: NDArray[np.int64]
    weights: Arrays
    arrived: bool

    def at(self, i: int) -> dict[str, NDArray[Any]]:
        """All weights of one entry."""
        return {name: array[i] for name, array in self.weights.items()}


@dataclass(frozen=True)
class Subject:
    """The fit, its model, and what it has kept: each part is read when a picture asks for it."""

    context: Context
    fitted: Fitted

    @classmethod
    def load(cls, context: Context, fit_id: str) -> Self:
        """The ended fit of this id; raises NotFound where it has no weights."""
        return cls(context, Fitted.load(context, fit_id))

    @property
    def spec(self) -> Mapping[str, Any]:
        """The resolved spec."""
        spec: Mapping[str, Any] = self.fitted.row["spec"]
        return spec

    @property
    def result(self) -> Mapping[str, Any]:
        """What the fit's row keeps of its end."""
        result: Mapping[str, Any] = self.fitted.row["result"]
        return result

    @property
    def stop_reason(self) -> str:
        """Why the fit ended."""
        return str(self.fitted.row["stop_reason"])

    @property
    def n_steps(self) -> int:
        """The updates that were made."""
        return int(self.result["progress"]["step"])

    @cached_property
    def history(self) -> Arrays:
        """Every recorded step and every epoch, under the artifact's names."""
        return self._kept("history")

    @cached_property
    def initial_weights(self) -> Arrays | None:
        """Where the fit began; None where it kept its final weights alone."""
        return self._kept("initial_weights") or None

    @cached_property
    def path(self) -> Path | None:
        """The recorded weights and the final ones; None where no weights were recorded."""
        kept = self._kept("trajectory")
        weights = {name: kept[name] for name in self.fitted.weights if name in kept}
        if not weights:
            return None
        stopping = self.spec["early_stopping"]
        restored = stopping is not None and stopping["restore_best"]
        if restored and self.stop_reason != "cancelled":
            return Path(kept["step"], weights, arrived=False)
        final = self.fitted.weights
        joined = {name: np.append(w, final[name][None], axis=0) for name, w in weights.items()}
        return Path(np.append(kept["step"], self.n_steps), joined, arrived=True)

    @property
    def recorded(self) -> Path:
        """The same of a fit that recorded weights; raises NotFound of another."""
        if self.path is None:
            raise NotFound(f"the fit {self.fitted.row['id']} recorded no weights")
        return self.path

    def _kept(self, name: str) -> Arrays:
        try:
            return load_arrays(self.context, self.fitted.row["id"], name)
        except NotFound:
            return {}

    @cached_property
    def batches(self) -> Batches:
        """How the fit's steps were cut into epochs; no row is read for it."""
        snapshot = None
        if self.spec["init"].get("optimizer_state"):
            snapshot = Snapshot.from_arrays(self._kept(START_STATE))
        return cut_batches(self.fitted.spec, self._n_training_rows, snapshot)

    @property
    def _n_training_rows(self) -> int:
        train = self.result["metrics"]["train"]
        if train is not None and "confusion_matrix" in train:
            # Of each class the held-out rows are rounded up: only who counted knows.
            return sum(map(sum, train["confusion_matrix"]))
        held_out = self.spec["validation"] or {}
        share = Validation(**held_out) if "fraction" in held_out else None
        return n_training_rows(self.fitted.row["n_rows"], share)

    def rows(self, most_rows: int = MOST_POINTS) -> Rows:
        """Evenly kept rows, fewer of them for a large model; MissingObject where they are gone."""
        most = self.affordable(most_rows)
        with opened_split(self.context, self.fitted) as split:
            train = Part(sampled(split.train, most), split.train.shape.n_rows)
            held_out = split.validation
            if held_out is None:
                return Rows(train, None)
            return Rows(train, Part(sampled(held_out, most), held_out.shape.n_rows))

    def affordable(self, n_points: int) -> int:
        """So many points, or fewer where the model would take too long for one who waits."""
        n_weights = sum(array.size for array in self.fitted.weights.values())
        return min(n_points, max(_FEWEST_POINTS, _MOST_WORK // n_weights))

    def features(self, *columns: Floats) -> Floats:
        """The model's features (m, d) where its own columns, all of numbers, are these (m,)."""
        block = pa.record_batch(list(columns), names=self.fitted.feature_columns)
        return self.fitted.columns.features.matrix(block)

    def outputs(self, x: Floats, weights: Arrays | None = None) -> Floats:
        """The model's numbers (m, k) for features x (m, d) in their own units, piece by piece."""
        widest = max(array.shape[0] for array in self.fitted.weights.values())
        most = max(1, _MOST_NUMBERS // widest)
        pieces = [
            self.fitted.outputs_of(x[first : first + most], weights)
            for first in range(0, len(x), most)
        ]
        return np.concatenate(pieces)

    def answers(self, x: Floats, weights: Arrays | None = None) -> Floats:
        """What the model says of the targets: numbers (m, k), or the places of classes (m, 1)."""
        return answers(self.fitted.spec.loss, self.outputs(x, weights))

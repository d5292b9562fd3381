"""A fit that has ended, as a model of new rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.artifacts import load_arrays
from service.context import Context
from service.database import datasets as dataset_queries
from service.fits import fit_row
from workers.engine import Scaling, Specification, predict
from workers.inputs import Columns, Label

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """The model with its weights, and what turns a table's rows into its features.

    `weights` are by their state_dict names and belong to the features as `scaling` has them;
    `classes` are the sorted ones of the target, None where it is numbers.
    """

    row: Mapping[str, Any]
    spec: Specification
    columns: Columns
    weights: dict[str, NDArray[Any]]
    scaling: Scaling | None

    @classmethod
    def load(cls, context: Context, fit_id: str) -> Self:
        """The fit of this id, whoever owns it; raises NotFound where it has no weights."""
        row = fit_row(context, fit_id)
        with context.database.read() as connection:
            columns = dataset_queries.find_columns(connection, row["dataset_id"])
        result = row["result"] or {}
        return cls(
            row=row,
            spec=Specification.from_mapping(row["spec"]),
            columns=Columns.of(row["spec"], columns, result.get("classes")),
            weights=load_arrays(context, fit_id, "weights"),
            scaling=_scaling(result),
        )

    @property
    def classes(self) -> list[Label] | None:
        """The sorted classes of the target, if any."""
        return self.columns.classes

    @property
    def feature_columns(self) -> list[str]:
        """The columns of a table that predictions need."""
        return self.columns.features.columns

    def features(self, block: pa.RecordBatch) -> Floats:
        """The block's features (m, d) as the weights take them."""
        x = self.columns.features.matrix(block)
        return x if self.scaling is None else self.scaling.scale(x)

    def outputs(
        self, block: pa.RecordBatch, weights: Mapping[str, NDArray[Any]] | None = None
    ) -> Floats:
        """The model's numbers (m, k) for the block's rows, at the fitted weights or at others."""
        return self._predict(self.features(block), weights)

    def outputs_of(self, x: Floats, weights: Mapping[str, NDArray[Any]] | None = None) -> Floats:
        """The same for rows of features x (m, d) in their own units."""
        return self._predict(x if self.scaling is None else self.scaling.scale(x), weights)

    def _predict(self, x: Floats, weights: Mapping[str, NDArray[Any]] | None) -> Floats:
        shape = self.columns.shape(len(x))
        return predict(self.spec.model, shape, weights or self.weights, x)


def _scaling(result: Mapping[str, Any]) -> Scaling | None:
    kept = result.get("standardization")
    return None if kept is None else Scaling(np.array(kept["mean"]), np.array(kept["std"]))

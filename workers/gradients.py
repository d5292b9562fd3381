"""A loss's gradient at given weights, on a stored table's rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from service.context import Context
from workers import engine
from workers.engine import Data, RowSource, Specification
from workers.engine.splitting import Subset
from workers.inputs import Columns, opened_rows
from workers.measuring import finite, not_finite


def check_gradients(
    context: Context,
    *,
    spec: Mapping[str, Any],
    columns: Sequence[Mapping[str, Any]],
    table: str,
    n_rows: int,
    rows: Sequence[int] | None,
) -> dict[str, Any]:
    """The loss, its gradient, and the central differences beside it; of all rows or of `rows`.

    `spec` is resolved, with the weights as its init; `columns` are the table's summaries.
    """
    with opened_rows(context, Columns.of(spec, columns), table, n_rows) as source:
        data = source.read(0, n_rows) if rows is None else _taken(source, rows)
    asked = Specification.from_mapping(spec)
    weights = asked.init.weights(asked.model, data.shape, asked.dtype, 0)
    found = engine.check_gradients(asked, weights, data)
    arrays = {f"gradients.{name}": array for name, array in found.gradients.items()}
    arrays |= {f"numerical.{name}": array for name, array in found.numerical.items()}
    error = found.max_relative_error
    return {
        "loss": finite(found.loss),
        "gradients": {name: array.tolist() for name, array in found.gradients.items()},
        "numerical": {name: array.tolist() for name, array in found.numerical.items()},
        "max_relative_error": finite(error),
        **not_finite({"loss": found.loss, **arrays, "max_relative_error": error}),
    }


def _taken(source: RowSource, rows: Sequence[int]) -> Data:
    """The rows in this order, each as often as it is named; of a large table no others."""
    wanted, places = np.unique(rows, return_inverse=True)
    data = Subset(source, wanted).read(0, len(wanted))
    weight = None if data.weight is None else data.weight[places]
    return Data(data.x[places], data.y[places], weight, data.n_classes)

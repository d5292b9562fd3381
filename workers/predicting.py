"""What a fitted model says of new rows, and how good it is on them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from service.context import Context
from service.tables.stored import StoredTable
from workers.engine import answers, loss_over, probabilities
from workers.fitted import Fitted
from workers.inputs import opened_rows
from workers.measuring import finite, measure, not_finite

PREDICTION = "prediction"
_PROBABILITY = "probability"
# In a matrix at once: 32 MiB.
_MOST_NUMBERS = 2**22


def predict(context: Context, *, fit_id: str, table: str, to: str) -> dict[str, Any]:
    """Put the predictions for the stored table's rows under the key `to`, as a canonical file.

    A column a target, or one of classes and one for each class's probability. What is told are the
    classes, how many targets there are, and the first row that no number says.
    """
    fitted = Fitted.load(context, fit_id)
    with context.storage.local(table) as path, context.storage.scratch() as scratch:
        made = scratch / "predictions.arrow"
        with StoredTable(path, fitted.feature_columns) as rows, np.errstate(all="ignore"):
            parts = (part for block in rows.blocks() for part in _cut(fitted, block))
            said = _Said()
            _write(made, (said.looked_at(predicted(fitted, part)) for part in parts))
        context.storage.put_file(to, made)
    n_targets = len(fitted.columns.targets)
    return {"classes": fitted.classes, "n_targets": n_targets, "not_finite": said.not_finite}


class _Said:
    """What the rows so far are: the first one of them that no number says."""

    def __init__(self) -> None:
        self._n_rows = 0
        self.not_finite: int | None = None

    def looked_at(self, block: pa.RecordBatch) -> pa.RecordBatch:
        """The block with null for what is not finite: no format of answers has other words."""
        columns = [
            pc.if_else(pc.is_finite(column), column, None)
            if pa.types.is_floating(column.type)
            else column
            for column in block.columns
        ]
        gaps = np.any([column.is_null().to_numpy(zero_copy_only=False) for column in columns], 0)
        if self.not_finite is None and gaps.any():
            self.not_finite = self._n_rows + int(gaps.argmax())
        self._n_rows += block.num_rows
        return pa.record_batch(columns, names=block.schema.names)


def _cut(fitted: Fitted, block: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The block in parts that no layer makes too wide a matrix of."""
    widest = max(max(array.shape) for array in fitted.weights.values() if array.ndim > 1)
    n_rows = max(1, _MOST_NUMBERS // widest)
    return (block.slice(first, n_rows) for first in range(0, block.num_rows, n_rows))


def predicted(fitted: Fitted, block: pa.RecordBatch) -> pa.RecordBatch:
    """The predictions for a block's rows."""
    outputs = fitted.outputs(block)
    said = answers(fitted.spec.loss, outputs)
    if fitted.classes is None:
        names = fitted.columns.targets if said.shape[1] > 1 else [PREDICTION]
        return pa.record_batch(list(said.T), names=list(names))
    places = said[:, 0].astype(np.int64)
    columns: list[Any] = [pa.array(fitted.classes).take(pa.array(places))]
    names = [PREDICTION]
    likely = probabilities(fitted.spec.loss, outputs)
    if likely is not None:
        columns += list(likely.T)
        names += [f"{_PROBABILITY}={label}" for label in fitted.classes]
    return pa.record_batch(columns, names=names)


def _write(path: Path, blocks: Iterator[pa.RecordBatch]) -> None:
    first = next(blocks)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, first.schema) as writer:
        writer.write_batch(first)
        for block in blocks:
            writer.write_batch(block)


def evaluate(context: Context, *, fit_id: str, table: str, n_rows: int) -> dict[str, Any]:
    """The metrics and the loss of the fitted model on the stored table's rows."""
    fitted = Fitted.load(context, fit_id)
    columns = replace(fitted.columns, at="/dataset")
    with opened_rows(context, columns, table, n_rows) as rows, np.errstate(all="ignore"):
        metrics = measure(fitted.spec, fitted.weights, fitted.scaling, fitted.classes, rows)
        ran = fitted.row["result"]["fingerprint"]["strategy"]
        loss = loss_over(fitted.spec, fitted.weights, rows, fitted.scaling, ran=ran)
    numbers = {f"metrics.{n}": v for n, v in metrics.items() if isinstance(v, float)}
    return {"metrics": metrics, "loss": finite(loss), **not_finite({"loss": loss, **numbers})}

"""A fit as files that other programs run: an ONNX model."""

from service.artifacts import load_arrays
from service.context import Context
from service.database import datasets as dataset_queries
from service.fits import find_row
from service.onnx_model import onnx_model
from service.tables.encoding import encode


def onnx_file(context: Context, fit_id: str, owner: str) -> bytes:
    """The fitted model as ONNX; raises NotFound and Gone."""
    row = find_row(context, fit_id, owner)
    weights = load_arrays(context, fit_id, "weights")
    with context.database.read() as connection:
        columns = dataset_queries.find_columns(connection, row["dataset_id"])
    spec, result = row["spec"], row["result"] or {}
    return onnx_model(
        spec,
        weights,
        encode(spec["features"], columns, spec["model"]).labels,
        result.get("standardization"),
        result.get("classes"),
    )

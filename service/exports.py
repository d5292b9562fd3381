"""A fit as files that other programs run: an ONNX model, a script."""

from service.artifacts import load_arrays
from service.context import Context
from service.database import datasets as dataset_queries
from service.fits import find_row
from service.onnx_model import onnx_model
from service.reproduction import NotReproducible, script
from service.tables.encoding import encode

# These ends came from outside, so that a script must be told when.
_ENDED_FROM_OUTSIDE = ("diverged", "interrupted", "time_limit")


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


def reproduction(context: Context, fit_id: str, owner: str) -> str:
    """A script that fits the dataset's CSV anew and prints the fit's weights.

    Raises NotFound, Gone, and NotReproducible before the fit's end, where it has no weights, and
    where it needs more than one dataset.
    """
    row = find_row(context, fit_id, owner)
    result = row["result"]
    if result is None:
        raise NotReproducible(f"the fit {fit_id} has no weights: it is {row['status']}")
    with context.database.read() as connection:
        columns = dataset_queries.find_columns(connection, row["dataset_id"])
    ended_as = result["ended_as"]
    return script(
        row["spec"],
        columns,
        row["digest"],
        row["n_rows"],
        n_steps=result["progress"]["step"] if ended_as in _ENDED_FROM_OUTSIDE else None,
        cancelled=ended_as == "interrupted",
    )

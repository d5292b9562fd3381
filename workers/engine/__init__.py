"""The engine: fits models to arrays; it knows neither HTTP nor Celery nor SQL."""

from workers.engine.asides import are_others_left, aside, aside_if, wait_for_others
from workers.engine.checkpoint import Checkpoint, Checkpoints
from workers.engine.data import Data, RowSource, Shape, blocks
from workers.engine.diagnostics import LeastSquares, Optimum, least_squares, optimum
from workers.engine.dtypes import Weights
from workers.engine.errors import EngineError, SpecificationError
from workers.engine.evaluating import GradientCheck, check_gradients, loss_over
from workers.engine.fitting import check, fit
from workers.engine.groups import fits_together
from workers.engine.interrupting import Interrupted, look, looking
from workers.engine.lr_range import LrRange, LrRangeResult, lr_range_test
from workers.engine.many import fit_many, fit_together
from workers.engine.planner import is_streamed
from workers.engine.predicting import answers, predict, probabilities
from workers.engine.processors import cpu_vendor
from workers.engine.results import EpochLosses, History, Progress, Result, Status, Trajectory
from workers.engine.small_tables import is_small
from workers.engine.snapshot import Snapshot, Start
from workers.engine.specification import Specification
from workers.engine.standardize import ScaledRows, Scaling
from workers.engine.threads import blas_kind, hold_one_blas_thread
from workers.engine.warming import warm_up

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "Data",
    "EngineError",
    "EpochLosses",
    "GradientCheck",
    "History",
    "Interrupted",
    "LeastSquares",
    "LrRange",
    "LrRangeResult",
    "Optimum",
    "Progress",
    "Result",
    "RowSource",
    "ScaledRows",
    "Scaling",
    "Shape",
    "Snapshot",
    "Specification",
    "SpecificationError",
    "Start",
    "Status",
    "Trajectory",
    "Weights",
    "answers",
    "are_others_left",
    "aside",
    "aside_if",
    "blas_kind",
    "blocks",
    "check",
    "check_gradients",
    "cpu_vendor",
    "fit",
    "fit_many",
    "fit_together",
    "fits_together",
    "hold_one_blas_thread",
    "is_small",
    "is_streamed",
    "least_squares",
    "look",
    "looking",
    "loss_over",
    "lr_range_test",
    "optimum",
    "predict",
    "probabilities",
    "wait_for_others",
    "warm_up",
]

"""What a fit shows while it runs, and gives when it ends."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workers.engine.dtypes import Weights
from workers.engine.snapshot import Snapshot
from workers.engine.spectrum import Squares
from workers.engine.splitting import Split
from workers.engine.standardize import Scaling

Status = Literal["completed", "converged", "diverged", "early_stopped", "interrupted", "time_limit"]
# Why a fit was not computed from the rows' squares: these would not have told it well enough, or
# sums of them are no finite numbers, or its steps enlarge what sums are rounded by too much.
Fallback = Literal["ill_conditioned", "not_finite", "sensitive"]


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The recorded steps, and every epoch that began.

    `loss`, `lr` and `grad_norm` (m,) float64 belong to the update of `step` (m,) int64, counted
    from 0, in `epoch` (m,) int64: the loss and the gradient's L2 norm on that update's batch,
    before it. `grad_norm` is without weight decay, over all parameters.

    `epochs_epoch` (e,) int64, `epochs_train_loss` and `epochs_validation_loss` (e,) float64: a
    train loss is the mean over the epoch's batches weighted by their sizes; a validation loss is
    nan where nothing was held out.
    """

    step: NDArray[np.int64]
    epoch: NDArray[np.int64]
    loss: NDArray[np.float64]
    lr: NDArray[np.float64]
    grad_norm: NDArray[np.float64]
    epochs_epoch: NDArray[np.int64]
    epochs_train_loss: NDArray[np.float64]
    epochs_validation_loss: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """What was recorded beside the history: its `step` (m,) int64.

    `weights` before each step's update, and `gradients` of its loss before clipping, in the fit's
    dtype: (m, …) under their state_dict names; empty where they were not asked for.
    """

    step: NDArray[np.int64]
    weights: Weights
    gradients: Weights


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """How a fit ended.

    `weights` and `initial_weights` are in the fit's dtype under state_dict names: `weight`
    (k, d), `bias` (k,); of a diverged fit, the last finite ones. `n_steps` updates led to them,
    of `total_steps` asked for. `failed_step` is the step whose loss, or whose update's weights,
    were not finite. `final_loss` is over the whole training set at `weights`, None where it is
    not finite.
    `strategy` is the one that ran; `fallback` why it is not the one that was chosen, if so.
    `split` has the rows fitted to and held out, in their own units; `scaling` is what the features
    were standardized by, and what the weights belong to. `snapshot` is the inner state after the
    last update, whichever weights are given. `squares` are what a strategy that makes no loop over
    the rows of float64 knows of them; small tables, those of fits that are computed together, are
    read again by whoever would ask.
    """

    status: Status
    weights: Weights
    initial_weights: Weights
    history: History
    n_steps: int
    total_steps: int
    failed_step: int | None
    final_loss: float | None
    strategy: str
    n_threads: int
    compute_seconds: float
    split: Split
    snapshot: Snapshot
    scaling: Scaling | None = None
    trajectory: Trajectory | None = None
    fallback: Fallback | None = None
    squares: Squares | None = None


@dataclass(frozen=True, slots=True)
class EpochLosses:
    """One epoch's losses, as the history has them; None where nothing was held out."""

    epoch: int
    train_loss: float
    validation_loss: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a running fit is: `step` updates done, the last one's epoch, loss and lr.

    `last_epoch` is the last one that is over, None before the first one's end.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    lr: float
    last_epoch: EpochLosses | None = None

"""The contract's answers, for the OpenAPI document; what goes out is tested against them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.schemas.common import FitStatus

Timestamp = Annotated[
    str,
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-24T09:30:00.000000Z"]),
]
Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]
StopReason = Literal[
    "completed", "converged", "early_stopped", "time_limit", "diverged", "cancelled", "error"
]


class Answer(BaseModel):
    """What an answer holds; a later version may hold more."""

    model_config = ConfigDict(extra="allow")


class ColumnSummary(Answer):
    """One column of a dataset; `std` is the population's. A category has its texts instead."""

    name: str
    type: Literal["number", "category"]
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    n_distinct: int
    categories: list[str] | None = None


class Dataset(Answer):
    """A table, known by the digest of its numbers; `n_dropped` rows were left out."""

    id: str = Field(examples=["ds_01KB2Q3M6X8T5V9W0Y1Z2A3B4C"])
    object: Literal["dataset"]
    name: str | None
    created_at: Timestamp
    expires_at: Timestamp | None
    n_rows: int
    n_dropped: int
    size_bytes: int
    digest: str = Field(examples=["sha256:" + "0" * 64])
    columns: list[ColumnSummary]
    tags: list[str]
    metadata: dict[str, str]


class DatasetContent(Answer):
    """A table by columns."""

    columns: dict[str, list[float | str]]


class DatasetOfFit(Answer):
    """The dataset that a fit was made on."""

    id: str
    digest: str
    n_rows: int


class Progress(Answer):
    """How far a fit is."""

    fraction: float
    step: int
    total_steps: int
    epoch: int
    loss: float | None
    lr: float | None
    eta_seconds: float | None


class LossHistory(Answer):
    """The loss before each step: at most 1,000 evenly kept points of `n`."""

    step: list[int]
    loss: list[float | None]
    n: int
    thinned: bool


class Metrics(Answer):
    """How good the predictions are, of the data alone.

    `train` is null where the fit was cancelled and its rows would have taken long to measure.
    """

    train: dict[str, float | list[list[int]] | None] | None
    validation: dict[str, float | list[list[int]] | None] | None


class Artifacts(Answer):
    """Where what a fit has kept is, by format; what it has not kept is missing.

    `reproduce` is a script that makes the same weights of the dataset's CSV.
    """

    weights: dict[str, Url] | None = None
    history: dict[str, Url] | None = None
    trajectory: dict[str, Url] | None = None
    reproduce: Url | None = None


class FitError(Answer):
    """Why a fit failed; of category `user` where the spec is to be mended."""

    code: str
    category: Literal["user", "server"]
    message: str
    step: int | None = None
    hint: str | None = None


class Fit(Answer):
    """A spec, its dataset, and what came out."""

    id: str = Field(examples=["fit_01KB2Q3M6X8T5V9W0Y1Z2A3B4C"])
    object: Literal["fit"]
    status: FitStatus
    stop_reason: StopReason | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    expires_at: Timestamp | None
    attempt: int
    spec: dict[str, Any]
    dataset: DatasetOfFit
    progress: Progress
    weights: dict[str, Any] | None
    coefficients: dict[str, Any] | None
    final_loss: float | None
    loss_history: LossHistory | None
    metrics: Metrics | None
    plots: dict[str, Url]
    artifacts: Artifacts
    diagnostics: dict[str, Any] | None
    checks: list["CheckOutcome"]
    fingerprint: dict[str, Any] | None
    error: FitError | None
    tags: list[str]
    metadata: dict[str, str]
    urls: dict[str, Url]


class CheckOutcome(Answer):
    """What a check came to.

    `first_step` is the first step of a history that leaves the tolerance, `index` where the largest
    difference is, after the array's name in a trajectory; both null where there is none.
    """

    target: str
    name: str | None
    hidden: bool
    status: Literal["passed", "failed", "not_evaluated"]
    points: float
    max_abs_difference: float | None
    first_step: int | None
    index: list[int | str] | None
    reason: str


class CheckOutcomes(Answer):
    """Checks with the points of those that passed; null where one was not evaluated."""

    checks: list[CheckOutcome]
    score: float | None
    max_score: float
    passed: bool | None


class GradescopeTest(Answer):
    """A check as Gradescope reads it; without a score where it was not evaluated."""

    name: str
    number: str
    max_score: float
    output: str
    visibility: Literal["visible", "hidden"]
    score: float | None = None
    status: Literal["passed", "failed"] | None = None


class GradescopeResults(Answer):
    """The `results.json` of a Gradescope autograder."""

    visibility: Literal["visible"]
    tests: list[GradescopeTest]
    score: float | None = None


class Event(Answer):
    """What happened to a job: ids ascend, and `end` is the last.

    `data` is of a `progress` the job's own `progress`; of an `epoch` its number, `train_loss` and
    `validation_loss`; of a `status` and of the `end` the job's `status` and `stop_reason`.
    """

    id: int
    type: Literal["status", "progress", "epoch", "end"]
    data: dict[str, Any]


class EventList(Answer):
    """What has happened to a job so far."""

    object: Literal["list"]
    data: list[Event]


class DatasetList(Answer):
    """A page of datasets, newest first."""

    object: Literal["list"]
    data: list[Dataset]
    has_more: bool
    next_cursor: str | None


class FitList(Answer):
    """A page of fits, newest first."""

    object: Literal["list"]
    data: list[Fit]
    has_more: bool
    next_cursor: str | None


class LrSuggestion(Answer):
    """Rates to begin with: where the curve falls the most, and halfway down its longest valley."""

    steepest: float
    valley: float


class LrCurve(Answer):
    """A point an iteration: the update's `lr`, and the loss before it, smoothed and `raw_loss`.

    Without a `suggestion` there is a `reason`. `stop_reason` is null of a curve that is not whole.
    """

    lr: list[float]
    loss: list[float]
    raw_loss: list[float]
    suggestion: LrSuggestion | None
    reason: str | None
    stop_reason: Literal["completed", "diverged"] | None


class LrRangeTest(Answer):
    """A spec with the rates to try, its dataset, and the curve that came out."""

    id: str = Field(examples=["lrt_01KB2Q3M6X8T5V9W0Y1Z2A3B4C"])
    object: Literal["lr_range_test"]
    status: FitStatus
    stop_reason: StopReason | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    expires_at: Timestamp | None
    attempt: int
    spec: dict[str, Any]
    dataset: DatasetOfFit
    progress: Progress
    result: LrCurve | None
    plots: dict[str, Url]
    diagnostics: dict[str, Any] | None
    fingerprint: dict[str, Any] | None
    error: FitError | None
    tags: list[str]
    metadata: dict[str, str]
    urls: dict[str, Url]


class LrRangeTestList(Answer):
    """A page of learning-rate range tests, newest first."""

    object: Literal["list"]
    data: list[LrRangeTest]
    has_more: bool
    next_cursor: str | None


class BatchCounts(Answer):
    """How many fits are in each state; a fit that is being cancelled is running."""

    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int


class BestFit(Answer):
    """The fit of the best metric so far, and that metric."""

    id: str
    value: float


class BatchSelect(Answer):
    """By what the best fit is chosen."""

    metric: str
    mode: Literal["min", "max"]


class Batch(Answer):
    """Many fits of one call.

    `varied` are the paths into their specs at which they differ. An ended batch has `succeeded`
    where any of its fits has, unless it was cancelled.
    """

    id: str = Field(examples=["bat_01KB2Q3M6X8T5V9W0Y1Z2A3B4C"])
    object: Literal["batch"]
    name: str | None
    status: FitStatus
    created_at: Timestamp
    finished_at: Timestamp | None
    expires_at: Timestamp | None
    n_fits: int
    counts: BatchCounts
    varied: list[str] = Field(examples=[["optimizer.lr", "seed"]])
    select: BatchSelect
    best: BestFit | None
    results: dict[str, Url]
    tags: list[str]
    metadata: dict[str, str]
    urls: dict[str, Url]


class BatchList(Answer):
    """A page of batches, newest first."""

    object: Literal["list"]
    data: list[Batch]
    has_more: bool
    next_cursor: str | None


class BatchResult(Answer):
    """One line of a batch's results.

    `score` is a success's `select.metric`, by which the batch has its `best`; `error` is the code
    of a failure.
    """

    id: str
    status: FitStatus
    stop_reason: StopReason | None
    varied: dict[str, Any]
    final_loss: float | None
    score: float | None
    metrics: Metrics | None
    coefficients: dict[str, Any] | None
    error: str | None


class HistoryEpochs(Answer):
    """A row an epoch."""

    epoch: list[int]
    train_loss: list[float | None]
    validation_loss: list[float | None]


class History(Answer):
    """Every recorded step; `not_finite` names the first null of a list that has some."""

    step: list[int]
    epoch: list[int]
    loss: list[float | None]
    lr: list[float | None]
    grad_norm: list[float | None]
    epochs: HistoryEpochs
    not_finite: dict[str, int] | None = None


class Weights(Answer):
    """Arrays by their state_dict names."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"weight": [[1.94]], "bias": [3.06]}]}
    )


class Trajectory(Answer):
    """Arrays by their state_dict names, an entry a recorded `step`, and the gradients likewise."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"step": [0], "weight": [[[1.94]]], "bias": [[3.06]]}]},
    )

    step: list[int]
    gradients: dict[str, Any] | None = None
    not_finite: dict[str, int] | None = None


class Predictions(Answer):
    """What the model says of each row: a number, a list of them where there are several targets,
    or a class.

    `probabilities` has a row a sample, a number for each of `classes`; a hinge has none.
    """

    predictions: list[float | str | list[float | None] | None] = Field(examples=[[1.1194, 3.0599]])
    classes: list[float | str] | None = None
    probabilities: list[list[float | None]] | None = None
    not_finite: dict[str, int] | None = None


class Evaluation(Answer):
    """How good the model is on a dataset: metrics of the data alone, the loss with the penalty.

    `not_finite` names what no number says, with its first place.
    """

    metrics: dict[str, float | list[list[int]] | None]
    loss: float | None
    not_finite: dict[str, int] | None = None


class GradientCheck(Answer):
    """A loss at given weights, its gradient, and the central differences beside it.

    `max_relative_error` is the largest |a − b| / max(|a|, |b|, 10⁻⁴·max(1, |loss|)).
    """

    loss: float | None
    gradients: dict[str, Any]
    numerical: dict[str, Any]
    max_relative_error: float | None
    not_finite: dict[str, int] | None = None


class ValidFit(Answer):
    """A fit that was not queued: its resolved spec, and roughly what it would take.

    In `spec`, a dataset that the body holds is described by its digest, rows and columns.
    `memory_bytes` come beside what a worker takes anyway; `seconds` are without waiting for one,
    and of all steps that were asked for.
    """

    spec: dict[str, Any]
    n_parameters: int
    memory_bytes: int
    seconds: float


class Health(Answer):
    """`ok`, or why not."""

    status: Literal["ok", "unavailable"]


class Readiness(Health):
    """Each part by name: `ok`, or why it is missing."""

    redis: str
    database: str
    storage: str


class ProblemPlace(Answer):
    """One thing to mend: a JSON Pointer into the body, or a row and column of a table."""

    code: str
    detail: str
    pointer: str | None = None
    row: int | None = None
    column: str | None = None


class Problem(Answer):
    """An error by RFC 9457; `code` is a stable word."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[ProblemPlace] = []

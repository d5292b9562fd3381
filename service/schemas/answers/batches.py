"""Batches as they are answered."""

from typing import Any, Literal

from pydantic import Field

from service.schemas.answers.common import Answer, Page, StopReason, Timestamp, Url
from service.schemas.answers.fits import Metrics
from service.schemas.common import FitStatus


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


class BatchList(Page):
    """A page of batches, newest first."""

    data: list[Batch]


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

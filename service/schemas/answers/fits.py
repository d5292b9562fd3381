"""Fits as they are answered, queued or not."""

from typing import Any, Literal

from pydantic import Field

from service.schemas.answers.checks import CheckOutcome
from service.schemas.answers.common import Answer, Page, Url
from service.schemas.answers.jobs import FitError, Job


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


class Fit(Job):
    """A spec, its dataset, and what came out."""

    id: str = Field(examples=["fit_01KB2Q3M6X8T5V9W0Y1Z2A3B4C"])
    object: Literal["fit"]
    weights: dict[str, Any] | None
    coefficients: dict[str, Any] | None
    final_loss: float | None
    loss_history: LossHistory | None
    metrics: Metrics | None
    plots: dict[str, Url]
    artifacts: Artifacts
    diagnostics: dict[str, Any] | None
    checks: list[CheckOutcome]
    fingerprint: dict[str, Any] | None
    error: FitError | None
    tags: list[str]
    metadata: dict[str, str]
    urls: dict[str, Url]


class FitList(Page):
    """A page of fits, newest first."""

    data: list[Fit]


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

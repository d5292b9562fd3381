"""Learning-rate range tests as they are answered."""

from typing import Any, Literal

from pydantic import Field

from service.schemas.answers.common import Answer, Page, Url
from service.schemas.answers.jobs import FitError, Job


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


class LrRangeTest(Job):
    """A spec with the rates to try, its dataset, and the curve that came out."""

    id: str = Field(examples=["lrt_01KB2Q3M6X8T5V9W0Y1Z2A3B4C"])
    object: Literal["lr_range_test"]
    result: LrCurve | None
    plots: dict[str, Url]
    diagnostics: dict[str, Any] | None
    fingerprint: dict[str, Any] | None
    error: FitError | None
    tags: list[str]
    metadata: dict[str, str]
    urls: dict[str, Url]


class LrRangeTestList(Page):
    """A page of learning-rate range tests, newest first."""

    data: list[LrRangeTest]

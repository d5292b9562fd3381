"""What is answered of every job: its dataset, its progress, its error, its events."""

from typing import Any, Literal

from service.schemas.answers.common import Answer, StopReason, Timestamp
from service.schemas.common import FitStatus


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


class Job(Answer):
    """What every job says of its life."""

    id: str
    object: str
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


class FitError(Answer):
    """Why a fit failed; of category `user` where the spec is to be mended."""

    code: str
    category: Literal["user", "server"]
    message: str
    step: int | None = None
    hint: str | None = None


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

"""What fits have kept, as JSON has it."""

from typing import Any

from pydantic import ConfigDict

from service.schemas.answers.common import Answer


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

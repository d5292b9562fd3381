"""What is answered of a model on given rows."""

from typing import Any

from pydantic import Field

from service.schemas.answers.common import Answer


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

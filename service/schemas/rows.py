"""New rows for a fitted model, and weights to look at."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from service.schemas.common import Schema
from service.schemas.datasets import Cells, ColumnName, Row
from service.schemas.fits import AnyDataset, Target
from service.schemas.inits import WeightArray
from service.schemas.losses import Loss, Penalty
from service.schemas.models import LinearModel, Model

_FORMS = ("features", "rows", "dataset")


class PredictionRequest(Schema):
    """Rows to predict for: a list a feature, an object a row, or a dataset.

    Beside the features there may be other columns of the fit's dataset; they are not read.
    """

    features: Annotated[dict[ColumnName, Cells], Field(min_length=1)] | None = None
    rows: Annotated[list[Row], Field(min_length=1)] | None = None
    dataset: AnyDataset | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if sum(getattr(self, form) is not None for form in _FORMS) != 1:
            raise PydanticCustomError(
                "one_form", "give the rows in one form: features, rows or dataset"
            )
        return self


class EvaluationRequest(Schema):
    """Rows with their targets."""

    dataset: AnyDataset


class GradientRequest(Schema):
    """A loss to differentiate: what it is of, where, and on which `rows` (from 0; all of them)."""

    dataset: AnyDataset
    features: Annotated[list[ColumnName], Field(min_length=1)] | None = None
    target: Target
    sample_weight: ColumnName | None = None
    model: Model = LinearModel()
    loss: Loss | None = None
    penalty: Penalty = Penalty()
    weights: dict[str, WeightArray] = Field(examples=[{"weight": [[-3.0]], "bias": [-2.0]}])
    rows: (
        Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, fail_fast=True)]
        | None
    ) = None

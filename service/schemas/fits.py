"""A fit's specification, as a client sends it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from service.schemas.checks import Checks
from service.schemas.common import (
    Count,
    Id,
    Metadata,
    NonNegative,
    Positive,
    Schema,
    Seed,
    Tags,
)
from service.schemas.datasets import ColumnName, DatasetRequest
from service.schemas.inits import DefaultInit, Init
from service.schemas.losses import Loss, Penalty
from service.schemas.models import LinearModel, Model
from service.schemas.optimizers import Optimizer, Sgd
from service.schemas.schedules import Schedule
from service.schemas.webhooks import FitWebhook


def object_or_scalar(value: Any) -> str:
    """Tell a union's members apart by JSON type, so that errors speak of one member alone."""
    return "object" if isinstance(value, dict | Schema) else "scalar"


def array_or_scalar(value: Any) -> str:
    """As `object_or_scalar`."""
    return "array" if isinstance(value, list) else "scalar"


def _dataset_form(value: Any) -> str | None:
    return object_or_scalar(value) if isinstance(value, str | dict | Schema) else None


# A dataset's id, or the dataset itself; and a column, or several.
AnyDataset = Annotated[
    Annotated[Id, Tag("scalar")] | Annotated[DatasetRequest, Tag("object")],
    Discriminator(
        _dataset_form,
        custom_error_type="dataset_type",
        custom_error_message=(
            "should be a dataset's id, or the table itself, "
            'like {"columns": {"x": [1, 2], "y": [3, 5]}}'
        ),
    ),
]
Target = Annotated[
    Annotated[ColumnName, Tag("scalar")]
    | Annotated[Annotated[list[ColumnName], Field(min_length=1)], Tag("array")],
    Discriminator(array_or_scalar),
]


class Seeds(Schema):
    """One seed a source of chance."""

    init: Seed = 0
    shuffle: Seed = 0
    split: Seed = 0


class Record(Schema):
    """What the history keeps: every `every`-th step, from step 0 on.

    The trajectory has the `weights` before, and the `gradients` of, the same steps.
    `final_weights_only`: neither history nor anything else but the result.
    """

    every: Count = 1
    weights: bool = False
    gradients: bool = False
    final_weights_only: bool = False


class Limits(Schema):
    """Where a fit ends at the latest."""

    max_seconds: Positive = 3600.0


class Validation(Schema):
    """Rows that are held out of the fit: a share of all, or of each class."""

    fraction: Annotated[float, Field(gt=0, lt=1)]
    stratify: bool = False


class ValidationDataset(Schema):
    """Another dataset, with the columns that the fit uses."""

    dataset: Id


def _dataset_or_share(value: Any) -> str:
    named = isinstance(value, ValidationDataset) or (isinstance(value, dict) and "dataset" in value)
    return "dataset" if named else "share"


class EarlyStopping(Schema):
    """Stop once `patience` epochs have brought no improvement of more than `min_delta`."""

    monitor: Literal["validation_loss", "train_loss"] = "validation_loss"
    patience: Count = 10
    min_delta: NonNegative = 0.0
    restore_best: bool = True


class FitFields(Schema):
    """What a fit's body holds, and the body of whatever else descends as a fit does."""

    dataset: AnyDataset
    features: Annotated[list[ColumnName], Field(min_length=1)] | None = None
    target: Target
    sample_weight: ColumnName | None = None
    model: Model = LinearModel()
    loss: Loss | None = None
    penalty: Penalty = Penalty()
    optimizer: Optimizer = Sgd()
    scheduler: Schedule | None = None
    standardize: bool = False
    tolerance: Positive | None = None
    clip_grad_norm: Positive | None = None
    validation: (
        Annotated[
            Annotated[Validation, Tag("share")] | Annotated[ValidationDataset, Tag("dataset")],
            Discriminator(_dataset_or_share),
        ]
        | None
    ) = None
    early_stopping: EarlyStopping | None = None
    batch_size: Count | None = None
    shuffle: bool = True
    drop_last: bool = False
    epochs: Count | None = None
    steps: Count | None = None
    init: Init = DefaultInit()
    seed: Annotated[
        Annotated[Seed, Tag("scalar")] | Annotated[Seeds, Tag("object")],
        Discriminator(object_or_scalar),
    ] = 0
    dtype: Literal["float32", "float64"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    record: Record = Record()
    limits: Limits = Limits()
    strategy: Literal[
        "auto", "reference", "graphs", "kernels", "large", "normal", "spectral", "streaming"
    ] = "auto"
    checks: Checks = []
    priority: Literal["low", "normal", "high"] = "normal"
    reuse: bool = False
    tags: Tags = []
    metadata: Metadata = {}

    @property
    def targets(self) -> list[str]:
        """The target columns, however many were named."""
        return [self.target] if isinstance(self.target, str) else list(self.target)


class FitRequest(FitFields):
    """What to fit, to what, and how; one of `steps` and `epochs` says for how long."""

    webhook: FitWebhook | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise PydanticCustomError(
                "epochs_or_steps", "give either epochs or steps, one of the two"
            )
        return self

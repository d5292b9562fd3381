"""What to compute: a fit's specification as the engine knows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeVar

from workers.engine.dtypes import DType
from workers.engine.early_stopping import EarlyStopping
from workers.engine.errors import SpecificationError
from workers.engine.initialization import Init, init_from_mapping
from workers.engine.losses import LOSSES, Loss
from workers.engine.models import MODELS, Model
from workers.engine.optimizers import Optimizer
from workers.engine.schedules import Schedule
from workers.engine.splitting import GivenValidation, Validation, validation_from_mapping

__all__ = ["Limits", "Penalty", "Record", "Seeds", "Specification", "SpecificationError"]

StrategyName = Literal[
    "auto", "reference", "graphs", "kernels", "large", "normal", "spectral", "streaming"
]
Member = TypeVar("Member")


@dataclass(frozen=True, slots=True)
class Seeds:
    """One seed a source of chance."""

    init: int
    shuffle: int
    split: int


@dataclass(frozen=True, slots=True)
class Penalty:
    """l1·Σ|w| + l2·Σw² over the weights, never the biases, added to the mean loss."""

    l1: float
    l2: float

    def __bool__(self) -> bool:
        return self.l1 != 0 or self.l2 != 0


@dataclass(frozen=True, slots=True)
class Record:
    """What the history keeps: steps 0, `every`, 2·`every`, …

    The trajectory keeps `weights` and `gradients` of the same steps, where they are asked for.
    """

    every: int
    weights: bool
    gradients: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a fit ends at the latest."""

    max_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """A fit's specification, every default filled in.

    `batch_size` None is the whole set; `clip_grad_norm` None leaves gradients as they are, and
    `tolerance` None never ends a fit, which else ends where no gradient entry is larger. One of
    `epochs` and `steps` is None. `strategy` is a strategy's name, or "auto" to let the planner
    choose.
    """

    model: Model
    loss: Loss
    penalty: Penalty
    optimizer: Optimizer
    schedule: Schedule | None
    clip_grad_norm: float | None
    tolerance: float | None
    standardize: bool
    validation: Validation | GivenValidation | None
    early_stopping: EarlyStopping | None
    batch_size: int | None
    shuffle: bool
    drop_last: bool
    epochs: int | None
    steps: int | None
    init: Init
    seeds: Seeds
    dtype: DType
    device: Literal["auto", "cpu", "cuda"]
    record: Record
    limits: Limits
    strategy: StrategyName

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise SpecificationError("/steps", "give either epochs or steps, one of the two")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """The specification of a resolved JSON object; keys that are not the engine's are ignored.

        Raises SpecificationError for a kind that the engine does not know.
        """
        return cls(
            model=_member(MODELS, mapping, "model"),
            loss=_member(LOSSES, mapping, "loss"),
            penalty=Penalty(**mapping["penalty"]),
            optimizer=Optimizer.from_mapping(mapping["optimizer"]),
            schedule=_optional(Schedule.from_mapping, mapping["scheduler"]),
            clip_grad_norm=mapping["clip_grad_norm"],
            tolerance=mapping["tolerance"],
            standardize=mapping["standardize"],
            validation=_optional(validation_from_mapping, mapping["validation"]),
            early_stopping=_optional(_early_stopping, mapping["early_stopping"]),
            batch_size=mapping["batch_size"],
            shuffle=mapping["shuffle"],
            drop_last=mapping["drop_last"],
            epochs=mapping["epochs"],
            steps=mapping["steps"],
            init=init_from_mapping(mapping["init"]),
            seeds=_seeds(mapping["seed"]),
            dtype=mapping["dtype"],
            device=mapping["device"],
            record=_record(mapping["record"]),
            limits=Limits(max_seconds=mapping["limits"]["max_seconds"]),
            strategy=mapping["strategy"],
        )

    def beginning_as(self, mapping: Mapping[str, Any]) -> Self:
        """The same, but with the optimizer, the first weights and the seeds of the mapping."""
        return replace(
            self,
            optimizer=Optimizer.from_mapping(mapping["optimizer"]),
            init=init_from_mapping(mapping["init"]),
            seeds=_seeds(mapping["seed"]),
        )


def _member(table: Mapping[str, type[Member]], mapping: Mapping[str, Any], key: str) -> Member:
    """The union's member that `mapping[key]` names by its kind."""
    arguments = dict(mapping[key])
    kind = arguments.pop("kind")
    if kind not in table:
        known = ", ".join(map(repr, table))
        raise SpecificationError(f"/{key}/kind", f"the engine knows {known}, no {kind!r}")
    return table[kind](**arguments)


def _optional(
    part: Callable[[Mapping[str, Any]], Member], mapping: Mapping[str, Any] | None
) -> Member | None:
    return None if mapping is None else part(mapping)


def _early_stopping(mapping: Mapping[str, Any]) -> EarlyStopping:
    return EarlyStopping(**mapping)


def _record(mapping: Mapping[str, Any]) -> Record:
    return Record(mapping["every"], weights=mapping["weights"], gradients=mapping["gradients"])


def _seeds(seed: int | Mapping[str, int]) -> Seeds:
    if isinstance(seed, int):
        return Seeds(init=seed, shuffle=seed, split=seed)
    return Seeds(init=seed["init"], shuffle=seed["shuffle"], split=seed["split"])

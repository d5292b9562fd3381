"""The script's optimizer and schedule."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from service.reproduction.model import changed
from service.reproduction.recipe import Recipe
from service.reproduction.wording import called, keywords
from service.schemas.optimizers import Optimizer
from service.schemas.schedules import Schedule

# One entry a kind of the contract; torch.optim's names.
OPTIMIZERS: Mapping[str, str] = {
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "adamax": "Adamax",
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
    "asgd": "ASGD",
    "rprop": "Rprop",
    "lbfgs": "LBFGS",
}
# torch.optim.lr_scheduler's.
SCHEDULES: Mapping[str, str] = {
    "step": "StepLR",
    "multistep": "MultiStepLR",
    "exponential": "ExponentialLR",
    "cosine": "CosineAnnealingLR",
    "cosine_warm_restarts": "CosineAnnealingWarmRestarts",
    "one_cycle": "OneCycleLR",
    "linear": "LinearLR",
    "polynomial": "PolynomialLR",
    "constant": "ConstantLR",
    "reduce_on_plateau": "ReduceLROnPlateau",
    "cyclic": "CyclicLR",
}
_OPTIMIZER: TypeAdapter[Any] = TypeAdapter(Optimizer)
_SCHEDULE: TypeAdapter[Any] = TypeAdapter(Schedule)


def optimizer(recipe: Recipe) -> list[str]:
    """`optimizer`, with the arguments that are not torch's defaults."""
    spec = recipe.spec["optimizer"]
    arguments = {"lr": spec["lr"]} | changed(_OPTIMIZER, spec)
    arguments = {n: tuple(v) if isinstance(v, list) else v for n, v in arguments.items()}
    name = f"optimizer = torch.optim.{OPTIMIZERS[spec['kind']]}("
    return called(name, ["model.parameters()", *keywords(arguments)])


def schedule(recipe: Recipe) -> list[str]:
    """`scheduler`, where the rate moves."""
    spec = recipe.spec["scheduler"]
    if spec is None:
        return []
    arguments = changed(_SCHEDULE, spec)
    arguments.pop("interval", None)
    if spec["kind"] == "one_cycle":
        arguments.pop("total_steps", None)
    written = keywords(arguments)
    if spec["kind"] == "one_cycle":
        total = spec["total_steps"]
        written.append(f"total_steps={_n_moves(recipe) if total is None else total}")
    name = f"scheduler = torch.optim.lr_scheduler.{SCHEDULES[spec['kind']]}("
    return called(name, ["optimizer", *written])


def _n_moves(recipe: Recipe) -> str:
    """How often the schedule moves in the whole fit."""
    epochs, steps = recipe.spec["epochs"], recipe.spec["steps"]
    if recipe.interval == "step":
        return n_steps(recipe)
    if recipe.batch_size is None:
        return str(epochs or steps)
    return str(epochs) if epochs is not None else f"max(1, {steps} // n_batches)"


def n_steps(recipe: Recipe) -> str:
    """How many updates the whole fit makes."""
    epochs, steps = recipe.spec["epochs"], recipe.spec["steps"]
    if steps is not None or recipe.batch_size is None:
        return str(steps or epochs)
    return f"{epochs} * n_batches"


def batches(recipe: Recipe) -> list[str]:
    """`n_batches`, to an epoch."""
    size = recipe.batch_size
    if size is None:
        return []
    if recipe.spec["drop_last"]:
        return [f"n_batches = len(x) // {size}  # an epoch; a smaller one at its end is dropped"]
    return [f"n_batches = math.ceil(len(x) / {size})  # an epoch"]

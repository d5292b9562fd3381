"""The script's objective: the mean loss of a model, and the penalty."""

from collections.abc import Callable, Mapping
from typing import Any

from service.reproduction.recipe import Recipe
from service.reproduction.wording import called, indented, joined, literal

Loss = Mapping[str, Any]
Write = Callable[[Loss, bool], list[str]]


def _of_torch(function: str, *named: str) -> Write:
    """torch's function of the loss; `named` are its arguments that are no defaults."""

    def write(loss: Loss, by_row: bool) -> list[str]:
        arguments = ["model(x)", "y"]
        arguments += [f"{name}={literal(loss[name])}" for name in named]
        return _reduced(function, arguments, by_row)

    return write


def _reduced(function: str, arguments: list[str], by_row: bool) -> list[str]:
    """Assigns `loss`, the mean; or `losses`, (m,), each row's."""
    if not by_row:
        return called(f"loss = nn.functional.{function}(", arguments)
    arguments = [*arguments, 'reduction="none"']
    if function == "cross_entropy":
        return called(f"losses = nn.functional.{function}(", arguments)
    return called(f"losses = nn.functional.{function}(", arguments, ").mean(dim=1)")


def _mean(losses: str, by_row: bool) -> str:
    return f"losses = {losses}.mean(dim=1)" if by_row else f"loss = {losses}.mean()"


def _quantile(loss: Loss, by_row: bool) -> list[str]:
    q = literal(loss["q"])
    losses = f"torch.maximum({q} * residual, ({q} - 1) * residual)"
    return ["residual = y - model(x)", _mean(losses, by_row)]


def _hinge(loss: Loss, by_row: bool) -> list[str]:
    return [_mean("(1 - (2 * y - 1) * model(x)).clamp(min=0)", by_row)]


def _bce(loss: Loss, by_row: bool) -> list[str]:
    weight = loss["pos_weight"]
    more = [] if weight is None else [f"pos_weight=y.new_tensor({literal(weight)})"]
    return _reduced("binary_cross_entropy_with_logits", ["model(x)", "y", *more], by_row)


def _cross_entropy(loss: Loss, by_row: bool) -> list[str]:
    arguments = ["model(x)", "y"]
    if loss["class_weight"] is not None:
        arguments.append("weight=class_weight")
    if loss["label_smoothing"]:
        arguments.append(f"label_smoothing={literal(loss['label_smoothing'])}")
    return _reduced("cross_entropy", arguments, by_row)


# One entry a kind of the contract.
LOSSES: Mapping[str, Write] = {
    "mse": _of_torch("mse_loss"),
    "mae": _of_torch("l1_loss"),
    "huber": _of_torch("huber_loss", "delta"),
    "smooth_l1": _of_torch("smooth_l1_loss", "beta"),
    "quantile": _quantile,
    "poisson": _of_torch("poisson_nll_loss"),
    "bce": _bce,
    "cross_entropy": _cross_entropy,
    "hinge": _hinge,
}


def class_weight(recipe: Recipe) -> list[str]:
    """`class_weight`, (c,), where classes have one."""
    weights = recipe.spec["loss"].get("class_weight")
    if weights is None:
        return []
    return [f"class_weight = torch.tensor({literal(weights)}{recipe.dtype_argument})"]


def objective(recipe: Recipe) -> list[str]:
    """The function that is descended."""
    weighted = "weight" in recipe.arrays
    penalized = any(recipe.spec["penalty"].values())
    mean = "weighted mean loss" if weighted else "mean loss"
    about = f"The {mean} of some rows" + (", and the penalty." if penalized else ".")
    return [
        f"def objective({joined(recipe.arrays)}):",
        f'    """{about}"""',
        *indented(LOSSES[recipe.loss](recipe.spec["loss"], weighted)),
        *indented(_weighted(recipe) if weighted else []),
        *indented(_penalized(recipe)),
    ]


def _weighted(recipe: Recipe) -> list[str]:
    counts = "weight"
    if recipe.spec["loss"].get("class_weight") is not None:
        counts = "(weight * class_weight[y])"
    return [
        "# Where no row counts there is no loss.",
        f"loss = (weight * losses).sum() / ({counts}.sum() or math.inf)",
    ]


def _penalized(recipe: Recipe) -> list[str]:
    """What is given: the loss and the penalty of the weights, never of biases or norms."""
    penalty = recipe.spec["penalty"]
    weight = "layer.weight" if recipe.is_network else "model.weight"
    sums = {"l1": f"{weight}.abs().sum()", "l2": f"{weight}.square().sum()"}
    terms = [f"{literal(penalty[n])} * {entry}" for n, entry in sums.items() if penalty[n]]
    if recipe.is_network:
        terms = [f"sum({term} for layer in model.layers)" for term in terms]
    if not terms:
        return ["return loss"]
    first, *second = terms
    if not second:
        return [f"return loss + {first}"]
    return [f"penalty = {first}", f"penalty = penalty + {second[0]}", "return loss + penalty"]

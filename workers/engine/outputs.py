"""Whether a model gives a number for each one that a loss takes."""

from workers.engine.data import Shape
from workers.engine.errors import SpecificationError
from workers.engine.losses import CrossEntropy, Loss


def check_outputs(loss: Loss, n_outputs: int, shape: Shape) -> None:
    """Raise SpecificationError where a model of so many numbers a row does not suit the loss.

    torch would stretch one number over many targets, and compiled loops would read past the end.
    """
    if isinstance(loss, CrossEntropy):
        _check_classes(loss, shape)
    taken = shape.n_classes if isinstance(loss, CrossEntropy) else shape.n_targets
    if n_outputs != taken:
        detail = f"the model gives {n_outputs} numbers for a row, and the loss takes {taken}"
        raise SpecificationError("/model", detail)


def _check_classes(loss: CrossEntropy, shape: Shape) -> None:
    if shape.n_classes is None or shape.n_targets != 1:
        raise SpecificationError("/loss", "cross entropy needs one target, of classes")
    weights = loss.class_weight
    if weights is not None and len(weights) != shape.n_classes:
        detail = f"there are {len(weights)} weights for {shape.n_classes} classes"
        raise SpecificationError("/loss/class_weight", detail)

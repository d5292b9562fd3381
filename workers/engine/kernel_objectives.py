"""The losses of a specification, as compiled loops know them."""

from collections.abc import Mapping

import numpy as np

from workers.engine.kernel_codes import LOSS_CODES
from workers.engine.kernel_losses import Loss as KernelLoss
from workers.engine.losses import LOSSES, Loss

# The argument of each kind that has one, and what stands for None.
_ARGUMENTS: Mapping[str, str] = {
    "huber": "delta",
    "smooth_l1": "beta",
    "quantile": "q",
    "bce": "pos_weight",
    "cross_entropy": "label_smoothing",
}


def loss_of(loss: Loss, n_outputs: int) -> KernelLoss:
    """The loss of a model that gives so many numbers for a row."""
    kind = next(kind for kind, loss_type in LOSSES.items() if type(loss) is loss_type)
    argument = getattr(loss, _ARGUMENTS[kind]) if kind in _ARGUMENTS else None
    # Without a beta the loss has no curve, and at 0 no slope.
    kind = "mae" if kind == "smooth_l1" and argument == 0 else kind
    class_weight = getattr(loss, "class_weight", None)
    return KernelLoss(
        kind=LOSS_CODES[kind],
        argument=1.0 if argument is None else float(argument),
        class_weight=np.ones(n_outputs) if class_weight is None else np.array(class_weight, float),
        counts=class_weight is not None,
    )

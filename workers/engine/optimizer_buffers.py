"""What torch's optimizers keep for each parameter, by the names of our own loops."""

from collections.abc import Mapping

from workers.engine.optimizers import Optimizer

_ADAM = {"mean": "exp_avg", "square": "exp_avg_sq", "other": "max_exp_avg_sq"}
_NAMES: Mapping[str, Mapping[str, str]] = {
    "sgd": {"mean": "momentum_buffer"},
    "adam": _ADAM,
    "adamw": _ADAM,
    "adamax": {"mean": "exp_avg", "square": "exp_inf"},
    "nadam": _ADAM,
    "radam": _ADAM,
    "rmsprop": {"mean": "momentum_buffer", "square": "square_avg", "other": "grad_avg"},
    "adagrad": {"square": "sum"},
    "adadelta": {"mean": "acc_delta", "square": "square_avg"},
    "asgd": {"mean": "ax"},
    "rprop": {"mean": "prev", "square": "step_size"},
}
# The argument without which there is no such buffer.
_ASKED_FOR_BY = {
    "momentum_buffer": "momentum",
    "max_exp_avg_sq": "amsgrad",
    "grad_avg": "centered",
}


def buffer_names(optimizer: Optimizer, *, scheduled: bool) -> Mapping[str, str]:
    """torch's names of the buffers that the optimizer has, by ours: `mean`, `square`, `other`.

    A schedule may set a momentum where there was none.
    """
    arguments = {**optimizer.all_arguments, **({"momentum": True} if scheduled else {})}
    return {
        ours: name
        for ours, name in _NAMES[optimizer.kind].items()
        if name not in _ASKED_FOR_BY or arguments.get(_ASKED_FOR_BY[name], False)
    }

"""In what two descents must agree."""

from typing import Any

import numpy as np

from workers.engine import Data, Result, Specification, Start, fit
from workers.engine.batches import cut_batches
from workers.engine.descent import Descent
from workers.engine.fitting import STRATEGIES
from workers.engine.splitting import split_rows


def computed(spec: dict[str, Any], data: Data, strategy: str, **changes: Any) -> Result:
    return fit(Specification.from_mapping(spec | changes | {"strategy": strategy}), data)


def begun(mapped: dict[str, Any], data: Data, strategy: str) -> Descent:
    """The descent at its first step; one that is rehearsed has been."""
    spec = Specification.from_mapping(mapped)
    split = split_rows(data, spec.validation, spec.seeds.split)
    shape = split.train.shape
    start = Start(spec.init.weights(spec.model, shape, spec.dtype, spec.seeds.init))
    return STRATEGIES[strategy](spec, split, cut_batches(spec, shape.n_rows), start)


def numbers(result: Result) -> list[np.ndarray]:
    history, trajectory = result.history, result.trajectory
    assert trajectory is not None
    return [
        history.loss, history.lr, history.grad_norm, history.epochs_train_loss,
        history.epochs_validation_loss, *trajectory.weights.values(),
        *trajectory.gradients.values(), *result.weights.values(), np.array(result.final_loss),
    ]  # fmt: skip


def bits(result: Result) -> list[bytes]:
    return [np.asarray(one).tobytes() for one in numbers(result)]


def assert_same_descent(found: Descent, whole: Descent) -> None:
    """Not a bit differs of what they have traced and of where they are."""
    assert (found.n_steps, found.end) == (whole.n_steps, whole.end)
    for name in ("loss", "grad_norm", "lr", "epoch_sums", "validation_loss"):
        n = len(whole.trace.history().step)
        ours, theirs = (getattr(one.trace, name)[:n] for one in (found, whole))
        assert ours.tobytes() == theirs.tobytes()
    for name, array in whole.snapshot().to_arrays().items():
        assert found.snapshot().to_arrays()[name].tobytes() == array.tobytes()


def assert_one_fit(begin: Result, end: Result, whole: Result, strategy: str) -> None:
    """Not a bit differs between two parts, one after the other, and the whole."""
    assert (begin.strategy, end.strategy, end.status) == (strategy, strategy, whole.status)
    for name in ("loss", "grad_norm", "lr"):
        joined = np.concatenate([getattr(part.history, name) for part in (begin, end)])
        assert joined.tobytes() == getattr(whole.history, name).tobytes()
    assert end.final_loss == whole.final_loss
    for name, weight in whole.weights.items():
        assert end.weights[name].tobytes() == weight.tobytes()


def assert_diverge_together(
    spec: dict[str, Any], data: Data, strategy: str, *, lr: float, dtype: str
) -> None:
    """At that rate the same step is the first that is not finite, by its loss or its weights."""
    spec["optimizer"]["lr"] = lr
    spec |= {
        "clip_grad_norm": None, "scheduler": None, "tolerance": None, "early_stopping": None,
        "steps": 300, "dtype": dtype, "record": {"every": 1, "weights": True, "gradients": True},
    }  # fmt: skip

    found, plain = (computed(spec, data, one) for one in (strategy, "reference"))

    assert (found.status, found.failed_step) == (plain.status, plain.failed_step)
    assert len(found.history.loss) == len(plain.history.loss)
    assert (found.final_loss is None) == (plain.final_loss is None)
    for weight in found.weights.values():
        assert np.isfinite(weight).all()

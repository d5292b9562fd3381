"""The gradient written out and the fused updates are the plain loop's."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.given import mapping, noisy_plane, sgd, specification
from tests.workers.engine.test_resuming import assert_one_run, in_two
from tests.workers.engine.test_rules import CHANGED, DEFAULTS, SCHEDULED
from workers.engine import Data, Result, Specification, SpecificationError, Start, fit
from workers.engine.backpropagation import SLOPES
from workers.engine.batches import cut_batches
from workers.engine.large import LargeDescent, large_rows
from workers.engine.networks import ACTIVATIONS, OUTPUTS
from workers.engine.products import by_blas, by_onednn, onednn_is_faster, product
from workers.engine.rows import Part, Rows

NETWORK: dict[str, Any] = {
    "kind": "mlp", "hidden": [9, 6], "activation": "tanh", "dropout": 0.0, "batch_norm": False,
    "output": "auto",
}  # fmt: skip
CLASSES = {"kind": "cross_entropy", "label_smoothing": 0.1, "class_weight": [1.0, 2.0, 0.5]}
LOSSES: list[dict[str, Any]] = [
    {"kind": "mse"}, {"kind": "mae"}, {"kind": "huber", "delta": 0.7},
    {"kind": "quantile", "q": 0.3}, CLASSES,
]  # fmt: skip
ARGUMENTS: list[tuple[str, dict[str, Any]]] = [(kind, {}) for kind in DEFAULTS] + CHANGED
ADAM = {"kind": "adam"} | DEFAULTS["adam"][1] | {"lr": 0.01}


def computed(data: Data, strategy: str, start: Start | None = None, **changes: Any) -> Result:
    spec = mapping(model=NETWORK, optimizer=sgd(lr=0.05, momentum=0.9), batch_size=16)
    spec |= {"strategy": strategy, **changes}
    return fit(Specification.from_mapping(spec), data, start=start)


def numbers(result: Result) -> list[Any]:
    history = result.history
    final = np.array([result.final_loss], dtype=np.float64)
    every = (history.loss, history.grad_norm, history.lr, history.epochs_train_loss)
    return [*every, history.epochs_validation_loss, *result.weights.values(), final]


def assert_the_plain_loops(data: Data, **changes: Any) -> Result:
    large, plain = (computed(data, name, **changes) for name in ("large", "reference"))
    first = float(plain.history.loss[0]) if len(plain.history.loss) else 1.0
    for found, exact in zip(numbers(large), numbers(plain), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12 * first)
    assert (large.status, large.n_steps) == (plain.status, plain.n_steps)
    assert (large.strategy, large.failed_step) == ("large", plain.failed_step)
    return large


def classes(*, weighted: bool = False) -> Data:
    data = noisy_plane(weighted=weighted)
    y = np.digitize(data.y, np.quantile(data.y, [0.3, 0.6])).astype(float)
    return Data(x=data.x, y=y, weight=data.weight, n_classes=3)


def test_every_activation_has_a_slope() -> None:
    assert set(SLOPES) == set(ACTIVATIONS)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_networks(activation: str, dropout: float, batch_norm: bool) -> None:
    changed = {"activation": activation, "dropout": dropout, "batch_norm": batch_norm}

    assert_the_plain_loops(noisy_plane(n_targets=2), model=NETWORK | changed, drop_last=True)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: str(loss["kind"]))
def test_losses(loss: dict[str, Any], weighted: bool, output: str) -> None:
    data = classes(weighted=weighted) if loss is CLASSES else noisy_plane(weighted=weighted)

    assert_the_plain_loops(data, loss=loss, model=NETWORK | {"output": output})


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", ["linear", "softmax"])
def test_one_layer(kind: str, bias: bool) -> None:
    softmax = {"loss": CLASSES} if kind == "softmax" else {}
    data = classes() if kind == "softmax" else noisy_plane(n_targets=2)

    assert_the_plain_loops(data, model={"kind": kind, "bias": bias}, **softmax)


@pytest.mark.parametrize(("kind", "arguments"), ARGUMENTS)
def test_optimizers(kind: str, arguments: dict[str, Any]) -> None:
    optimizer = {"kind": kind} | DEFAULTS[kind][1] | arguments
    if kind != "lbfgs":
        assert_the_plain_loops(noisy_plane(), optimizer=optimizer, batch_size=None)
        return
    with pytest.raises(SpecificationError, match="does not cover"):
        computed(noisy_plane(), "large", optimizer=optimizer)


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize(("kind", "_", "arguments"), SCHEDULED)
def test_schedules(kind: str, _: Any, arguments: dict[str, Any], interval: str) -> None:
    schedule = {"kind": kind, "interval": interval} | arguments

    assert_the_plain_loops(noisy_plane(), scheduler=schedule, steps=40)


@pytest.mark.parametrize(
    "changes",
    [
        {"penalty": {"l1": 0.02, "l2": 0.0}},
        {"penalty": {"l1": 0.02, "l2": 0.1}, "model": NETWORK | {"batch_norm": True}},
        {"clip_grad_norm": 0.3, "record": {"every": 3, "weights": True, "gradients": True}},
        {"clip_grad_norm": 0.3, "tolerance": 0.05, "batch_size": None, "steps": 400},
        {"validation": {"fraction": 0.3, "stratify": False}, "standardize": True},
        {
            "validation": {"fraction": 0.3, "stratify": False}, "epochs": 60, "steps": None,
            "early_stopping": {
                "monitor": "validation_loss", "patience": 2, "min_delta": 0.0,
                "restore_best": True,
            },
        },
        {"shuffle": False, "seed": 5}, {"drop_last": True, "epochs": 3, "steps": None},
    ],
)  # fmt: skip
def test_what_is_beside_the_loss(changes: dict[str, Any]) -> None:
    result = assert_the_plain_loops(noisy_plane(), **changes)

    # and the trajectory, where there is one
    if result.trajectory is not None:
        plain = computed(noisy_plane(), "reference", **changes).trajectory
        assert plain is not None
        for name, seen in result.trajectory.gradients.items():
            np.testing.assert_allclose(seen, plain.gradients[name], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_layers_for_two_hundred_steps(dtype: str) -> None:
    # given layers whose products are large ones, and the plain loop in both precisions
    changes: dict[str, Any] = {
        "model": NETWORK | {"hidden": [256, 256], "activation": "relu"}, "optimizer": ADAM,
        "batch_size": 128, "steps": 200,
    }  # fmt: skip
    data = noisy_plane(n_rows=1_000, n_features=30)
    large = computed(data, "large", dtype=dtype, **changes)
    plain = computed(data, "reference", dtype=dtype, **changes)
    start = Start({n: w.astype(np.float64) for n, w in plain.initial_weights.items()})
    exact = computed(
        data,
        "reference",
        start,
        dtype="float64",
        init={"fit": "fit_01", "optimizer_state": False},
        **changes,
    )

    # then it is as near to the float64 loop as the plain loop is
    def distance(result: Result) -> float:
        pairs = zip(numbers(result), numbers(exact), strict=True)
        known = [(a, b) for a, b in pairs if np.isfinite(b).all()]
        return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in known)

    allowed = 1e-9 if dtype == "float64" else max(1e-4, 2 * distance(plain))
    assert distance(large) <= allowed


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("changed", [{}, {"dropout": 0.2}, {"batch_norm": True}])
@pytest.mark.parametrize("batch_size", [None, 9_500])
def test_batches_too_large_for_a_cache(
    batch_size: int | None, changed: dict[str, Any], weighted: bool
) -> None:
    data = noisy_plane(n_rows=10_000, weighted=weighted)
    wide = NETWORK | {"hidden": [256, 256]} | changed

    changes: dict[str, Any] = {"batch_size": batch_size, "steps": 4}
    assert_the_plain_loops(data, model=wide, penalty={"l1": 0.0, "l2": 0.01}, **changes)


@pytest.mark.parametrize("kind", ["adam", "sgd", "adagrad", "rmsprop"])
def test_large_layers_go_on_to_the_bit(kind: str) -> None:
    wide = {"hidden": [256, 256], "dropout": 0.2, "batch_norm": True}
    data = noisy_plane(n_rows=500, n_features=30)

    parts = in_two(
        data, 13, model=NETWORK | wide, optimizer={"kind": kind} | DEFAULTS[kind][1],
        batch_size=128, dtype="float32", strategy="large",
    )  # fmt: skip

    assert_one_run(parts)
    assert parts[0].n_threads == 2


@pytest.mark.parametrize(
    ("vendor", "has_mkl", "is_faster"),
    [("GenuineIntel", True, False), ("GenuineIntel", False, True), ("AuthenticAMD", True, True)],
)
def test_which_library_is_faster(vendor: str, has_mkl: bool, is_faster: bool) -> None:
    assert onednn_is_faster(vendor, has_mkl=has_mkl) == is_faster


# Whichever library this machine's products are made by, the other one is another machine's.
@pytest.mark.parametrize("by", [product, by_onednn, by_blas])
@given(sizes=st.tuples(*[st.sampled_from([1, 3, 64, 300])] * 3), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_products(by: Callable[..., torch.Tensor], sizes: tuple[int, int, int], seed: int) -> None:
    # given matrices of any strides
    m, k, n = sizes
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(k, m, generator=generator).t(), torch.randn(n, k, generator=generator)
    bias = torch.randn(n, generator=generator)

    # then their product is the float64 one, but for rounding
    for left, right in ((a, b), (a.contiguous(), b.t().contiguous().t())):
        exact = left.double() @ right.double().t()
        size = (left.double().abs() @ right.double().abs().t()).max()
        assert (by(left, right, None) - exact).abs().max() <= 1e-6 * size
        assert (by(left, right, bias) - bias - exact).abs().max() <= 1e-6 * (size + 10)


@pytest.mark.parametrize("at", [3, 70, 150])
def test_a_weight_that_overflows_long_after_a_mark(at: int) -> None:
    # given a rate that explodes at some step
    schedule = {"kind": "multistep", "interval": "step", "milestones": [at], "gamma": 1e41}
    changes: dict[str, Any] = {"optimizer": sgd(lr=1e-3), "scheduler": schedule, "dtype": "float32"}
    plane = noisy_plane()
    data = Data(x=plane.x, y=1e3 * plane.y)

    # when it is fitted
    large, plain = (computed(data, name, steps=200, **changes) for name in ("large", "reference"))

    # then that step fails as it does in the plain loop, and all before it stays
    assert (large.status, large.failed_step, large.n_steps) == ("diverged", at, at)
    assert (plain.status, plain.failed_step, len(plain.history.loss)) == ("diverged", at, at + 1)
    before = computed(data, "large", steps=at, **changes)
    assert len(large.history.loss) == at + 1
    np.testing.assert_array_equal(large.history.loss[:at], before.history.loss)
    np.testing.assert_array_equal(large.history.lr[:at], before.history.lr)
    for name, weight in before.weights.items():
        np.testing.assert_array_equal(large.weights[name], weight)


def test_few_steps_are_made_anew_where_each_takes_long() -> None:
    # given steps of an eighth of a second's work or so, the twentieth of which overflows
    schedule = {"kind": "multistep", "interval": "step", "milestones": [19], "gamma": 1e41}
    spec = specification(
        model=NETWORK | {"hidden": [1024]}, optimizer=sgd(lr=1e-3), scheduler=schedule,
        dtype="float32", steps=40,
    )  # fmt: skip
    data = noisy_plane(2_048, 63)
    batches = cut_batches(spec, 2_048)
    rows = Counted(large_rows(spec, data, batches))
    initial = spec.init.weights(spec.model, data.shape, "float32", 0)
    descent = LargeDescent(spec, data.shape, rows, batches, Start(initial))

    # when it is descended to there
    most = 0
    while descent.failed_step is None:
        before = rows.n_steps
        descent.advance(descent.chunk_steps)
        most = max(most, rows.n_steps - before)

    # then no call makes more than its own steps twice
    assert descent.failed_step == 19
    assert 1 < descent.chunk_steps < 10
    assert most <= 2 * descent.chunk_steps


class Counted:
    """Rows that count the steps that were made on them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.n_rows = rows.n_rows
        self.n_steps = 0

    def parts(self, step: int) -> Iterator[Part]:
        """The step's batch."""
        self.n_steps += 1
        return self._rows.parts(step)

    def all_parts(self) -> Iterator[Part]:
        """The whole training set."""
        return self._rows.all_parts()

"""Optimizers, schedules, losses, clipping and penalties are those of plain torch loops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss
from torch import nn, optim
from torch.optim import lr_scheduler

from tests.workers.engine.given import mapping, noisy_plane, sgd
from tests.workers.engine.plain import batches_of
from workers.engine import Data, Result, Specification, SpecificationError, check, fit
from workers.engine.losses import LOSSES
from workers.engine.optimizers import OPTIMIZERS
from workers.engine.schedules import SCHEDULES

Parameters = list[nn.Parameter]

# Every argument at torch's default: (how a reader writes it, as the specification says it).
DEFAULTS: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "sgd": (optim.SGD, {
        "lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}),
    "adam": (optim.Adam, {
        "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False}),
    "adamw": (optim.AdamW, {
        "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01, "amsgrad": False}),
    "adamax": (optim.Adamax, {
        "lr": 2e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0}),
    "nadam": (optim.NAdam, {
        "lr": 2e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0,
        "momentum_decay": 4e-3, "decoupled_weight_decay": False}),
    "radam": (optim.RAdam, {
        "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0,
        "decoupled_weight_decay": False}),
    "rmsprop": (optim.RMSprop, {
        "lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0,
        "centered": False}),
    "adagrad": (optim.Adagrad, {
        "lr": 1e-2, "lr_decay": 0.0, "weight_decay": 0.0, "initial_accumulator_value": 0.0,
        "eps": 1e-10}),
    "adadelta": (optim.Adadelta, {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0}),
    "asgd": (optim.ASGD, {
        "lr": 1e-2, "lambd": 1e-4, "alpha": 0.75, "t0": 1e6, "weight_decay": 0.0}),
    "rprop": (optim.Rprop, {"lr": 1e-2, "etas": [0.5, 1.2], "step_sizes": [1e-6, 50.0]}),
    "lbfgs": (optim.LBFGS, {
        "lr": 1.0, "max_iter": 20, "max_eval": None, "tolerance_grad": 1e-7,
        "tolerance_change": 1e-9, "history_size": 100, "line_search_fn": None}),
}  # fmt: skip
CHANGED: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {"lr": 0.02, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
    ("sgd", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    ("adam", {"lr": 0.1, "betas": [0.7, 0.95], "eps": 1e-3, "weight_decay": 0.1, "amsgrad": True}),
    ("adam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("adamw", {"lr": 0.1, "weight_decay": 0.2, "amsgrad": True}),
    ("adamax", {"lr": 0.1, "weight_decay": 0.1}),
    ("nadam", {"lr": 0.1, "momentum_decay": 0.1, "weight_decay": 0.1}),
    ("nadam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("radam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("rmsprop", {"momentum": 0.8, "centered": True, "weight_decay": 0.1}),
    ("adagrad", {"lr": 0.5, "lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("adadelta", {"rho": 0.5, "weight_decay": 0.1}),
    ("asgd", {"t0": 5.0, "lambd": 0.1, "weight_decay": 0.1}),
    ("rprop", {"etas": [0.4, 1.3], "step_sizes": [1e-3, 0.5]}),
    ("lbfgs", {"lr": 0.5, "max_iter": 4, "history_size": 3}),
    ("lbfgs", {"line_search_fn": "strong_wolfe", "max_iter": 3}),
]
CLIMBING: list[tuple[str, dict[str, Any]]] = [
    (kind, {"maximize": True, "lr": 1e-3}) for kind in DEFAULTS if kind != "lbfgs"
]
ARGUMENTS: list[tuple[str, dict[str, Any]]] = [(kind, {}) for kind in DEFAULTS] + CHANGED + CLIMBING

SCHEDULED: list[tuple[str, Callable[..., Any], dict[str, Any]]] = [
    ("step", lr_scheduler.StepLR, {"step_size": 3, "gamma": 0.5}),
    ("multistep", lr_scheduler.MultiStepLR, {"milestones": [2, 5], "gamma": 0.3}),
    ("exponential", lr_scheduler.ExponentialLR, {"gamma": 0.9}),
    ("cosine", lr_scheduler.CosineAnnealingLR, {"T_max": 7, "eta_min": 1e-3}),
    (
        "cosine_warm_restarts",
        lr_scheduler.CosineAnnealingWarmRestarts,
        {"T_0": 3, "T_mult": 2, "eta_min": 1e-3},
    ),
    (
        "one_cycle",
        lr_scheduler.OneCycleLR,
        {
            "max_lr": 0.05, "total_steps": 41, "pct_start": 0.4, "anneal_strategy": "linear",
            "cycle_momentum": True, "base_momentum": 0.8, "max_momentum": 0.9,
            "div_factor": 10.0, "final_div_factor": 100.0, "three_phase": True,
        },
    ),
    ("linear", lr_scheduler.LinearLR, {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 6}),
    ("polynomial", lr_scheduler.PolynomialLR, {"total_iters": 9, "power": 2.0}),
    ("constant", lr_scheduler.ConstantLR, {"factor": 0.5, "total_iters": 4}),
    (
        "reduce_on_plateau",
        lr_scheduler.ReduceLROnPlateau,
        {
            "mode": "min", "factor": 0.5, "patience": 1, "threshold": 0.5,
            "threshold_mode": "rel", "cooldown": 1, "min_lr": 1e-5, "eps": 1e-8,
        },
    ),
    (
        "cyclic",
        lr_scheduler.CyclicLR,
        {
            "base_lr": 1e-3, "max_lr": 0.05, "step_size_up": 3, "step_size_down": 5,
            "mode": "exp_range", "gamma": 0.95, "cycle_momentum": True, "base_momentum": 0.7,
            "max_momentum": 0.9,
        },
    ),
]  # fmt: skip

TORCH_LOSSES: dict[str, tuple[dict[str, float], Callable[..., torch.Tensor]]] = {
    "mse": ({}, nn.MSELoss()),
    "mae": ({}, nn.L1Loss()),
    "huber": ({"delta": 0.7}, nn.HuberLoss(delta=0.7)),
    "smooth_l1": ({"beta": 0.3}, nn.SmoothL1Loss(beta=0.3)),
    "quantile": (
        {"q": 0.8},
        lambda p, y: torch.where(y > p, 0.8 * (y - p), 0.2 * (p - y)).mean(),
    ),
    "poisson": ({}, nn.PoissonNLLLoss()),
}


# (model, arguments, classes, the loss as a reader writes it)
CLASS_LOSSES: dict[str, tuple[str, dict[str, Any], int, Callable[..., torch.Tensor]]] = {
    "bce": (
        "logistic", {"pos_weight": 3.0}, 2,
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0, dtype=torch.float64)),
    ),
    "hinge": ("linear", {}, 2, lambda p, y: torch.relu(1 - torch.where(y > 0, p, -p)).mean()),
    "cross_entropy": (
        "softmax", {"label_smoothing": 0.1, "class_weight": [1.0, 2.0, 0.5]}, 3,
        lambda p, y: nn.CrossEntropyLoss(
            weight=torch.tensor([1.0, 2.0, 0.5]).double(), label_smoothing=0.1
        )(p, y[:, 0].long()),
    ),
}  # fmt: skip


def classes_of(n_classes: int, n_rows: int = 90) -> Data:
    """Points, and the third of a plane that each lies in."""
    plane = noisy_plane(n_rows, 3)
    cuts = np.quantile(plane.y, np.arange(1, n_classes) / n_classes)
    y = np.searchsorted(cuts, plane.y[:, 0])[:, None].astype(float)
    return Data(plane.x, y, n_classes=n_classes)


def descend(  # noqa: PLR0913 (what a reader would change)
    spec: dict[str, Any],
    data: Data,
    result: Result,
    *,
    build: Callable[[Parameters], optim.Optimizer],
    loss_of: Callable[..., torch.Tensor] = nn.functional.mse_loss,
    schedule: Callable[[optim.Optimizer], Any] | None = None,
    penalty: Callable[[nn.Linear], torch.Tensor] | None = None,
    clip: float | None = None,
) -> tuple[np.ndarray, ...]:
    """Losses, rates and weights of a loop as a reader would write it."""
    x, y = torch.tensor(data.x), torch.tensor(data.y)
    model = nn.Linear(x.shape[1], len(result.weights["bias"]), dtype=torch.float64)
    model.load_state_dict({n: torch.tensor(w) for n, w in result.initial_weights.items()})
    optimizer = build(list(model.parameters()))
    scheduler = schedule(optimizer) if schedule else None
    per_epoch = -(-len(x) // (spec["batch_size"] or len(x)))
    every = per_epoch if spec["scheduler"] and spec["scheduler"]["interval"] == "epoch" else 1
    losses, rates = [], []
    for step, rows in enumerate(batches_of(spec, len(x))):

        def closure(rows: torch.Tensor = rows) -> torch.Tensor:
            optimizer.zero_grad()
            loss = loss_of(model(x[rows]), y[rows])
            if penalty:
                loss = loss + penalty(model)
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            return loss

        rates.append(optimizer.param_groups[0]["lr"])
        losses.append(optimizer.step(closure).item())  # type: ignore[arg-type, attr-defined]
        if scheduler and (step + 1) % every == 0:
            plateau = isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
            scheduler.step(*([np.mean(losses[-every:])] if plateau else []))
    return np.array(losses), np.array(rates), *(p.detach().numpy() for p in model.parameters())


def computed(spec: dict[str, Any], data: Data) -> Result:
    return fit(Specification.from_mapping(spec), data)


def assert_same(result: Result, expected: tuple[np.ndarray, ...]) -> None:
    found = (result.history.loss, result.history.lr, *result.weights.values())
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_every_kind_is_tested() -> None:
    assert set(DEFAULTS) == set(OPTIMIZERS)
    assert {kind for kind, _, _ in SCHEDULED} == set(SCHEDULES)
    assert {*TORCH_LOSSES, *CLASS_LOSSES} == set(LOSSES)


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize(("kind", "changes"), ARGUMENTS)
def test_optimizers_are_torchs(kind: str, changes: dict[str, Any], batch_size: int | None) -> None:
    data = noisy_plane(64, 3)
    build, defaults = DEFAULTS[kind]
    spec = mapping(optimizer={"kind": kind} | defaults | changes, batch_size=batch_size, steps=60)

    result = computed(spec, data)

    # torch's own defaults are what the contract's are
    assert_same(result, descend(spec, data, result, build=lambda p: build(p, **changes)))


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize(("kind", "build", "arguments"), SCHEDULED)
def test_schedules_are_torchs(
    kind: str, build: Callable[..., Any], arguments: dict[str, Any], interval: str
) -> None:
    data = noisy_plane(64, 3)
    spec = mapping(
        optimizer=sgd(lr=0.03, momentum=0.5),
        scheduler={"kind": kind, "interval": interval} | arguments,
        batch_size=16,
        steps=40,
    )

    result = computed(spec, data)

    assert len(np.unique(result.history.lr)) > 1
    expected = descend(
        spec, data, result,
        build=lambda p: optim.SGD(p, lr=0.03, momentum=0.5),
        schedule=lambda optimizer: build(optimizer, **arguments),
    )  # fmt: skip
    assert_same(result, expected)


def test_one_cycle_spans_the_fit_unless_told_otherwise() -> None:
    arguments = SCHEDULED[5][2] | {"total_steps": None, "three_phase": False}
    schedule = {"kind": "one_cycle", "interval": "step"} | arguments
    spec = mapping(optimizer=sgd(momentum=0.5), scheduler=schedule, steps=30)

    rates = computed(spec, noisy_plane()).history.lr

    assert rates.argmax() == 11
    assert rates[-1] < rates[0] / 5


@pytest.mark.parametrize("kind", TORCH_LOSSES)
@pytest.mark.parametrize("n_targets", [1, 2])
def test_losses_are_torchs(kind: str, n_targets: int) -> None:
    plane = noisy_plane(64, 3, n_targets)
    data = Data(plane.x, np.abs(plane.y).round())
    arguments, loss_of = TORCH_LOSSES[kind]
    spec = mapping(loss={"kind": kind} | arguments, steps=40)

    result = computed(spec, data)

    expected = descend(spec, data, result, build=lambda p: optim.SGD(p, lr=0.01), loss_of=loss_of)
    assert_same(result, expected)


@pytest.mark.parametrize("kind", TORCH_LOSSES)
def test_whole_weights_count_like_repeated_rows_in_every_loss(kind: str) -> None:
    plane = noisy_plane(40)
    x, y, times = plane.x, np.abs(plane.y).round(), np.arange(40) % 3
    spec = mapping(loss={"kind": kind} | TORCH_LOSSES[kind][0], strategy="reference")

    weighted = computed(spec, Data(x, y, times.astype(float)))
    repeated = computed(spec, Data(x.repeat(times, axis=0), y.repeat(times, axis=0)))

    np.testing.assert_allclose(weighted.history.loss, repeated.history.loss, rtol=1e-9)


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_losses_of_classes_are_torchs(kind: str, batch_size: int | None) -> None:
    model, arguments, n_classes, loss_of = CLASS_LOSSES[kind]
    data = classes_of(n_classes)
    spec = mapping(
        model={"kind": model, "bias": True}, loss={"kind": kind} | arguments,
        optimizer=sgd(lr=0.1), steps=40, batch_size=batch_size,
    )  # fmt: skip

    result = computed(spec, data)

    expected = descend(spec, data, result, build=lambda p: optim.SGD(p, lr=0.1), loss_of=loss_of)
    assert_same(result, expected)
    streamed = computed(spec | {"strategy": "streaming"}, data)
    np.testing.assert_allclose(streamed.history.loss, result.history.loss, rtol=1e-12)


@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_whole_weights_count_like_repeated_rows_of_classes(kind: str) -> None:
    model, arguments, n_classes, _ = CLASS_LOSSES[kind]
    plain, times = classes_of(n_classes), np.arange(90) % 3
    spec = mapping(model={"kind": model, "bias": True}, loss={"kind": kind} | arguments)
    x, y = (array.repeat(times, axis=0) for array in (plain.x, plain.y))

    weighted = computed(spec, Data(plain.x, plain.y, times.astype(float), n_classes))
    repeated = computed(spec, Data(x, y, n_classes=n_classes))

    np.testing.assert_allclose(weighted.history.loss, repeated.history.loss, rtol=1e-9)


def test_softmax_needs_classes() -> None:
    spec = mapping(
        model={"kind": "softmax", "bias": True},
        loss={"kind": "cross_entropy", "label_smoothing": 0.0, "class_weight": None},
    )

    with pytest.raises(SpecificationError, match="target of classes"):
        computed(spec, noisy_plane())


def test_the_quantile_loss_is_scikit_learns_pinball() -> None:
    rng = np.random.default_rng(0)
    p, y = rng.normal(size=(2, 20, 1))
    loss: Any = LOSSES["quantile"]

    ours = loss(q=0.3).mean(torch.tensor(p), torch.tensor(y))

    assert float(ours) == pytest.approx(mean_pinball_loss(y, p, alpha=0.3), rel=1e-12)


def test_gradients_are_clipped_as_torch_clips_them() -> None:
    data = noisy_plane(64, 3)
    spec = mapping(clip_grad_norm=0.5, optimizer=sgd(lr=0.1), batch_size=16, steps=60)

    result = computed(spec, data)

    assert result.history.grad_norm.max() > 0.5
    expected = descend(spec, data, result, build=lambda p: optim.SGD(p, lr=0.1), clip=0.5)
    assert_same(result, expected)


def test_penalties_are_on_weights_and_part_of_the_loss() -> None:
    data = noisy_plane(64, 3, 2)
    spec = mapping(penalty={"l1": 0.1, "l2": 0.2}, steps=60)

    result = computed(spec, data)

    expected = descend(
        spec, data, result,
        build=lambda p: optim.SGD(p, lr=0.01),
        penalty=lambda model: 0.1 * model.weight.abs().sum() + 0.2 * (model.weight**2).sum(),
    )  # fmt: skip
    assert_same(result, expected)
    residual = data.y - data.x @ result.weights["weight"].T - result.weights["bias"]
    weight = result.weights["weight"]
    whole = (residual**2).mean() + 0.1 * np.abs(weight).sum() + 0.2 * (weight**2).sum()
    assert result.final_loss == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"optimizer": {"kind": "rprop"} | DEFAULTS["rprop"][1] | {"etas": [2, 3]}}, "/optimizer"),
        ({"optimizer": {"kind": "other"}}, "/optimizer/kind"),
        ({"scheduler": {"kind": "other", "interval": "step"}}, "/scheduler/kind"),
        ({"scheduler": {"kind": "cyclic", "interval": "step"} | SCHEDULED[10][2]}, "/scheduler"),
        (
            {
                "scheduler": {"kind": "one_cycle", "interval": "step"} | SCHEDULED[5][2],
                "optimizer": sgd(momentum=0.5),
                "steps": 42,
            },
            "/scheduler/total_steps",
        ),
    ],
)
def test_what_torch_refuses_is_refused(changes: dict[str, Any], pointer: str) -> None:
    data = noisy_plane()
    adam = {"kind": "adadelta"} | DEFAULTS["adadelta"][1]

    with pytest.raises(SpecificationError) as refused:
        check(Specification.from_mapping(mapping(**({"optimizer": adam} | changes))), data.shape)

    assert refused.value.pointer == pointer

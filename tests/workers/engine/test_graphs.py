"""Fits with the job dimension in front are the plain loop's, alone and together."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.workers.engine.given import mapping, noisy_plane, sgd, specification
from tests.workers.engine.test_large import CLASSES, LOSSES, NETWORK, classes
from tests.workers.engine.test_resuming import assert_one_run, in_two
from tests.workers.engine.test_rules import CHANGED, DEFAULTS, SCHEDULED
from workers.engine import Data, Result, Specification, SpecificationError, fit
from workers.engine.batched_rules import BATCHED_RULES
from workers.engine.batches import cut_batches
from workers.engine.group import Group, Job, n_places

ARGUMENTS: list[tuple[str, dict[str, Any]]] = [(kind, {}) for kind in BATCHED_RULES] + [
    (kind, arguments) for kind, arguments in CHANGED if kind in BATCHED_RULES
]
MODELS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"kind": "linear", "bias": True}, {"kind": "mse"}),
    ({"kind": "linear", "bias": False}, {"kind": "huber", "delta": 0.7}),
    ({"kind": "logistic", "bias": True}, {"kind": "bce", "pos_weight": None}),
    ({"kind": "softmax", "bias": True}, CLASSES | {"class_weight": None}),
    (NETWORK, {"kind": "mae"}),
    (NETWORK | {"activation": "gelu"}, CLASSES | {"class_weight": None}),
]


def computed(data: Data, strategy: str, **changes: Any) -> Result:
    spec = mapping(optimizer=sgd(lr=0.05, momentum=0.9), batch_size=16, strategy=strategy)
    return fit(Specification.from_mapping(spec | changes), data)


def assert_the_plain_loops(data: Data, **changes: Any) -> Result:
    graphs, plain = (computed(data, name, **changes) for name in ("graphs", "reference"))
    first = float(plain.history.loss[0])
    for name in ("loss", "grad_norm", "lr", "epochs_train_loss"):
        found, exact = (getattr(one.history, name) for one in (graphs, plain))
        np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-12 * first)
    for name, weight in plain.weights.items():
        np.testing.assert_allclose(graphs.weights[name], weight, rtol=1e-9, atol=1e-12)
    assert graphs.final_loss == pytest.approx(plain.final_loss, rel=1e-9)
    assert (graphs.status, graphs.n_steps) == (plain.status, plain.n_steps)
    assert graphs.strategy == "graphs"
    return graphs


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("model", "loss"), MODELS)
def test_models(model: dict[str, Any], loss: dict[str, Any], weighted: bool) -> None:
    data = noisy_plane(weighted=weighted)
    if loss["kind"] == "cross_entropy":
        data = classes(weighted=weighted)
    if loss["kind"] == "bce":
        data = replace(data, y=(data.y > 3).astype(np.float64), n_classes=2)

    assert_the_plain_loops(data, model=model, loss=loss)


@pytest.mark.parametrize(("kind", "arguments"), ARGUMENTS)
def test_optimizers(kind: str, arguments: dict[str, Any]) -> None:
    optimizer = {"kind": kind} | DEFAULTS[kind][1] | arguments

    assert_the_plain_loops(noisy_plane(n_targets=2), optimizer=optimizer)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": None, "steps": 40}, {"batch_size": 10, "shuffle": False},
        {"drop_last": True, "epochs": 3, "steps": None}, {"clip_grad_norm": 0.3},
        {"penalty": {"l1": 0.02, "l2": 0.1}}, {"seed": 7, "standardize": True},
        {"record": {"every": 3, "weights": True, "gradients": False}},
    ],
)  # fmt: skip
def test_what_is_beside_the_loss(changes: dict[str, Any]) -> None:
    assert_the_plain_loops(noisy_plane(), model=NETWORK, **changes)


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize(("kind", "_", "arguments"), SCHEDULED)
def test_schedules(kind: str, _: Any, arguments: dict[str, Any], interval: str) -> None:
    changes = {"scheduler": {"kind": kind, "interval": interval} | arguments, "steps": 40}
    if kind not in ("reduce_on_plateau", "one_cycle", "cyclic"):
        assert_the_plain_loops(noisy_plane(), **changes)
        return
    with pytest.raises(SpecificationError, match="does not cover"):
        computed(noisy_plane(), "graphs", **changes)


@pytest.mark.parametrize("kind", BATCHED_RULES)
def test_a_fit_goes_on_to_the_bit(kind: str) -> None:
    optimizer = {"kind": kind} | DEFAULTS[kind][1]
    if kind == "sgd":
        optimizer |= {"momentum": 0.9}

    schedule = {"kind": "step", "interval": "epoch"} | SCHEDULED[0][2]
    assert_one_run(
        in_two(
            noisy_plane(), optimizer=optimizer, model=NETWORK, batch_size=8, strategy="graphs",
            scheduler=schedule,
        )
    )  # fmt: skip


@pytest.mark.parametrize("at", [0, 3, 30])
def test_a_weight_that_overflows_is_undone(at: int) -> None:
    # given a rate that explodes at some step, on rows whose losses stay finite
    gamma = {"kind": "multistep", "interval": "step", "milestones": [at], "gamma": 1e41}
    lr, schedule = (1e38, None) if at == 0 else (1e-3, gamma)
    changes = {"optimizer": sgd(lr=lr), "scheduler": schedule, "dtype": "float32"}
    plane = noisy_plane()
    data = Data(x=plane.x, y=1e3 * plane.y)

    # then that step fails, and all before it stays
    result = computed(data, "graphs", steps=60, **changes)
    before = computed(data, "graphs", steps=max(1, at), **changes | {"optimizer": sgd(lr=1e-3)})
    assert (result.status, result.failed_step, result.n_steps) == ("diverged", at, at)
    assert len(result.history.loss) == at + 1
    np.testing.assert_array_equal(result.history.loss[:at], before.history.loss[:at])
    for name, weight in before.weights.items():
        expected = weight if at else before.initial_weights[name]
        np.testing.assert_array_equal(result.weights[name], expected)


def job(seed: int, batch_size: int | None, dtype: str) -> Job:
    adam = {"kind": "adam"} | DEFAULTS["adam"][1]
    changes: dict[str, Any] = {"dtype": dtype, "batch_size": batch_size, "optimizer": adam}
    # Matrices of whole lines of the cache, as a CPU needs them.
    spec = specification(seed=seed, model=NETWORK | {"hidden": [32, 16]}, **changes)
    data = noisy_plane(seed=seed, n_features=16)
    return Job(spec, data, spec.init.weights(spec.model, data.shape, spec.dtype, seed))


def together(jobs: list[Job], device: str) -> list[list[bytes]]:
    """The bits that each job has after three steps."""
    batches = cut_batches(jobs[0].spec, 50)
    group = Group(jobs, batches, torch.device(device))
    seen = [group.advance(0, [[0.01, 0.02]] * len(jobs), [0] * len(jobs))]
    seen.append(group.advance(2, [[0.01]] * len(jobs), [2] * len(jobs)))
    losses = np.concatenate([one.loss for one in seen])
    return [
        [losses[:, i].tobytes(), *(w.tobytes() for w in group.weights(i).values())]
        for i in range(len(jobs))
    ]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [None, 16])
def test_a_job_has_the_same_bits_alone_and_together(
    batch_size: int | None, dtype: str, device: str
) -> None:
    jobs = [job(seed, batch_size, dtype) for seed in range(5)]

    alone = [together([one], device)[0] for one in jobs]

    assert together(jobs, device) == alone
    assert together(jobs[::-1], device) == alone[::-1]


def test_a_group_has_so_many_places() -> None:
    assert [n_places(work) for work in (2**10, 2**20, 2**24)] == [32, 8, 1]
    with pytest.raises(ValueError, match="32 places, not 33"):
        together([job(seed, None, "float32") for seed in range(33)], "cpu")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"strategy": "kernels"}, "/strategy"),
        ({"tolerance": 0.1}, "/device"),
        ({"model": NETWORK | {"dropout": 0.1}}, "/device"),
        ({"optimizer": {"kind": "lbfgs"} | DEFAULTS["lbfgs"][1]}, "/device"),
    ],
)
def test_what_a_device_does_not_cover_is_refused(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(SpecificationError) as caught:
        computed(noisy_plane(), **{"strategy": "auto", "device": "cuda"} | changes)

    assert caught.value.pointer == pointer


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_machine_without_a_device_says_so() -> None:
    with pytest.raises(SpecificationError, match="no CUDA device"):
        computed(noisy_plane(), "auto", device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", BATCHED_RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("model", "loss"), [MODELS[0], MODELS[4]])
def test_a_device_gives_the_plain_loops_numbers(
    model: dict[str, Any], loss: dict[str, Any], dtype: str, kind: str
) -> None:
    # given a fit of captured steps, more of them than a graph has
    changes: dict[str, Any] = {"model": model, "loss": loss, "dtype": dtype, "steps": 100}
    changes["optimizer"] = {"kind": kind} | DEFAULTS[kind][1]
    found = computed(noisy_plane(), "auto", device="cuda", **changes)

    # then its numbers are the plain loop's, and it gives its bits again
    plain = computed(noisy_plane(), "reference", **changes)
    rtol = 1e-9 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(found.history.loss, plain.history.loss, rtol=rtol)
    again = computed(noisy_plane(), "auto", device="cuda", **changes)
    assert again.history.loss.tobytes() == found.history.loss.tobytes()


def test_every_loss_is_covered() -> None:
    for loss in LOSSES[:-1]:
        assert_the_plain_loops(noisy_plane(n_targets=2), loss=loss)

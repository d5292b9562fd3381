"""The curvature of linear least squares, held against derivatives and against descents."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import linear

from tests.workers.engine.given import sgd, specification
from tests.workers.engine.least import found, stretched
from workers.engine import Data, fit
from workers.engine.objective import Objective
from workers.engine.rows import Part


def autograd_hessian(data: Data, l2: float) -> NDArray[np.float64]:
    """Of the loss as a reader would write it."""
    x, y = torch.tensor(data.x), torch.tensor(data.y)
    rows = torch.ones(len(x)).double() if data.weight is None else torch.tensor(data.weight)
    k, d = y.shape[1], x.shape[1]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        weight, bias = flat[: k * d].view(k, d), flat[k * d :]
        squares = (y - linear(x, weight, bias)).square().mean(dim=1)
        return (rows * squares).sum() / rows.sum() + l2 * weight.square().sum()

    at = torch.zeros(k * (d + 1), dtype=torch.float64)
    matrix: NDArray[np.float64] = torch.autograd.functional.hessian(loss, at).numpy()
    return matrix


def gradient_hessian(data: Data, l2: float) -> NDArray[np.float64]:
    """Of the loss that the engine descends: a quadratic's gradient changes by the Hessian."""
    spec = specification(penalty={"l1": 0.0, "l2": l2})
    module = spec.model.module(data.shape, torch.float64)
    weight = None if data.weight is None else torch.tensor(data.weight)
    rows = Part(torch.tensor(data.x), torch.tensor(data.y), weight)
    parameters = list(module.parameters())

    def gradient(at: torch.Tensor) -> NDArray[np.float64]:
        torch.nn.utils.vector_to_parameters(at, parameters)
        module.zero_grad()
        Objective(module, spec.loss, spec.penalty).mean(iter([rows]))
        return np.concatenate([p.grad.flatten() for p in parameters if p.grad is not None])

    axes = torch.eye(sum(p.numel() for p in parameters), dtype=torch.float64)
    return np.array([gradient(axis) - gradient(0 * axis) for axis in axes])


@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_the_curvature_is_the_losss(n_targets: int, weighted: bool, l2: float) -> None:
    data = stretched(n_targets, weighted=weighted)

    best = found(data, penalty={"l1": 0.0, "l2": l2})

    for hessian in (autograd_hessian(data, l2), gradient_hessian(data, l2)):
        eigenvalues = np.linalg.eigvalsh(hessian)
        least, most = eigenvalues[0], eigenvalues[-1]
        assert best.condition_number == pytest.approx(most / least, rel=1e-10)
        assert best.max_stable_lr == pytest.approx(2 / most, rel=1e-10)
        assert best.best_constant_lr == pytest.approx(2 / (least + most), rel=1e-10)


@pytest.mark.parametrize(("factor", "grows"), [(0.99, False), (1.01, True)])
@pytest.mark.parametrize("l2", [0.0, 0.2])
def test_descents_grow_past_the_largest_stable_lr(factor: float, grows: bool, l2: float) -> None:
    data, penalty = stretched(2, weighted=True), {"l1": 0.0, "l2": l2}
    best = found(data, penalty=penalty)
    changes = {"optimizer": sgd(lr=factor * best.max_stable_lr), "penalty": penalty}

    result = fit(specification(steps=2_000, **changes), data)

    after = found(data, result.weights, **changes)
    assert (after.distance > 1e6 * best.distance) == grows
    assert (after.distance < 1e-6 * best.distance) != grows
    assert (after.steps_to_1e_6 is None) == grows


def test_no_constant_lr_contracts_faster_than_the_best() -> None:
    data = stretched()
    best = found(data)

    def distance(factor: float) -> float:
        spec = specification(optimizer=sgd(lr=factor * best.best_constant_lr), steps=100)
        return found(data, fit(spec, data).weights).distance

    assert distance(1.0) < min(map(distance, (0.9, 0.97, 1.03, 1.1)))


@pytest.mark.parametrize("share", [0.2, 0.97])
def test_steps_to_1e_6_are_the_worst_cases(share: float) -> None:
    # given a start whose error lies along the direction that goes away last
    data = stretched()
    best = found(data)
    lr = share * best.max_stable_lr
    eigenvalues, vectors = np.linalg.eigh(autograd_hessian(data, 0.0))
    worst = vectors[:, np.abs(1 - lr * eigenvalues).argmax()]
    weight, bias = best.weights["weight"] + worst[:3], best.weights["bias"] + worst[3:]
    init = {"weights": {"weight": weight.tolist(), "bias": bias.tolist()}}
    n_steps = found(data, optimizer=sgd(lr=lr)).steps_to_1e_6
    assert n_steps is not None

    # then so many steps bring it a million times nearer, and one fewer do not
    for steps, nearer in ((n_steps, True), (n_steps - 1, False)):
        spec = specification(optimizer=sgd(lr=lr), steps=steps, init=init)
        assert (found(data, fit(spec, data).weights).distance <= 1e-6) == nearer


def test_one_step_is_enough_where_all_directions_are_alike() -> None:
    x = np.array([[1.0], [-1.0]])

    best = found(Data(x, x), optimizer=sgd(lr=0.5))

    assert (best.condition_number, best.max_stable_lr, best.steps_to_1e_6) == (1.0, 1.0, 1)
    assert found(Data(x, x), optimizer=sgd(lr=1.0)).steps_to_1e_6 is None
    assert found(Data(x, x), optimizer=sgd(lr=1e-20)).steps_to_1e_6 is None

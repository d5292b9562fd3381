"""Multilayer perceptrons are torch's, and so are the schemes that they start from."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.workers.engine.given import mapping, noisy_plane, sgd
from tests.workers.engine.plain import batches_of
from workers.engine import Data, Result, Specification, fit
from workers.engine.data import Shape
from workers.engine.initialization import SCHEMES
from workers.engine.networks import ACTIVATIONS
from workers.engine.predicting import predict

MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky_relu": nn.LeakyReLU,
    "identity": nn.Identity,
}


def mlp(**changes: Any) -> dict[str, Any]:
    plain = {
        "kind": "mlp", "hidden": [8, 5], "activation": "tanh", "dropout": 0.0,
        "batch_norm": False, "output": "auto",
    }  # fmt: skip
    return plain | changes


def computed(data: Data, **changes: Any) -> Result:
    return fit(Specification.from_mapping(mapping(**changes)), data)


def sequential(model: dict[str, Any], n_features: int, n_outputs: int) -> nn.Sequential:
    """The network as a reader writes it, drawn under torch's own seed."""
    torch.manual_seed(7)
    parts: list[nn.Module] = []
    for width in model["hidden"]:
        parts.append(nn.Linear(n_features, width, dtype=torch.float64))
        if model["batch_norm"]:
            parts.append(nn.BatchNorm1d(width, dtype=torch.float64))
        parts.append(MODULES[model["activation"]]())
        n_features = width
    return nn.Sequential(*parts, nn.Linear(n_features, n_outputs, dtype=torch.float64))


def descend(spec: dict[str, Any], data: Data, network: nn.Sequential) -> list[float]:
    x, y = torch.tensor(data.x), torch.tensor(data.y)
    # Not Adam: a bias before a batch norm has no gradient but rounding, which Adam would enlarge.
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for rows in batches_of(spec, len(x)):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(network(x[rows]), y[rows])
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    return losses


ADAM = {
    "kind": "adam", "lr": 0.01, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0,
    "amsgrad": False,
}  # fmt: skip


def test_every_activation_is_tested() -> None:
    assert set(MODULES) == set(ACTIVATIONS)


@pytest.mark.parametrize("activation", MODULES)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_network_is_torchs(activation: str, batch_norm: bool) -> None:
    data = noisy_plane(64, 3, 2)
    model = mlp(activation=activation, batch_norm=batch_norm)
    with torch.random.fork_rng():
        network = sequential(model, 3, 2)
    optimizer = sgd(lr=0.05, momentum=0.9)
    spec = mapping(model=model, optimizer=optimizer, batch_size=16, steps=60, seed=7)

    result = computed(data, **spec)
    losses = descend(spec, data, network)

    np.testing.assert_allclose(result.history.loss, losses, rtol=1e-9)
    network.eval()
    outputs = network(torch.tensor(data.x)).detach().numpy()
    assert result.final_loss == pytest.approx(((outputs - data.y) ** 2).mean(), rel=1e-9)
    model_of = Specification.from_mapping(spec).model
    ours = predict(model_of, data.shape, result.weights, data.x)
    np.testing.assert_allclose(ours, outputs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_starts_from_torchs_draws(dtype: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [nn.Linear(i, o, dtype=getattr(torch, dtype)) for i, o in ((3, 8), (8, 5), (5, 1))]

    initial = computed(noisy_plane(), model=mlp(), seed=3, steps=1, dtype=dtype).initial_weights

    assert list(initial) == [f"layers.{i}.{n}" for i in range(3) for n in ("weight", "bias")]
    for i, layer in enumerate(layers):
        np.testing.assert_array_equal(initial[f"layers.{i}.weight"], layer.weight.detach())
        np.testing.assert_array_equal(initial[f"layers.{i}.bias"], layer.bias.detach())


def test_dropout_is_drawn_from_the_seed_and_the_step() -> None:
    data = noisy_plane(200)
    spec = {"model": mlp(dropout=0.5, hidden=[64]), "steps": 30, "strategy": "reference"}

    first, again = computed(data, **spec), computed(data, **spec)
    other = computed(data, **spec, seed={"init": 0, "shuffle": 1, "split": 0})
    still = computed(data, **spec, optimizer=sgd(lr=0.0))

    assert first.history.loss.tobytes() == again.history.loss.tobytes()
    assert first.history.loss.tobytes() != other.history.loss.tobytes()
    # each step drops others, and the last loss is without
    assert len(np.unique(still.history.loss)) == 30
    whole = computed(data, **spec | {"model": mlp(hidden=[64])}, optimizer=sgd(lr=0.0))
    assert still.final_loss == whole.final_loss


def test_streaming_gives_the_same_batches() -> None:
    data = noisy_plane(100)
    spec = {"model": mlp(dropout=0.2, batch_norm=True), "batch_size": 10, "epochs": 2}

    found = computed(data, **spec, strategy="streaming")
    expected = computed(data, **spec, strategy="reference")

    assert found.history.loss.tobytes() == expected.history.loss.tobytes()
    for name, weight in expected.weights.items():
        assert found.weights[name].tobytes() == weight.tobytes()


def test_a_divergence_keeps_the_last_finite_weights() -> None:
    result = computed(
        noisy_plane(), model=mlp(activation="relu", batch_norm=True), optimizer=sgd(lr=1e200)
    )

    assert result.status == "diverged"
    assert all(np.isfinite(weight).all() for weight in result.weights.values())


SCHEME_ARGUMENTS: dict[str, dict[str, Any]] = {
    "zeros": {},
    "uniform": {"a": -0.5, "b": 2.0},
    "normal": {"mean": 1.0, "std": 0.1},
    "xavier_uniform": {"gain": 2.0},
    "xavier_normal": {"gain": 0.5},
    "kaiming_uniform": {"a": 0.1, "mode": "fan_out", "nonlinearity": "leaky_relu"},
    "kaiming_normal": {"a": 0.0, "mode": "fan_in", "nonlinearity": "relu"},
    "orthogonal": {"gain": 1.5},
}


@pytest.mark.parametrize("kind", SCHEMES)
def test_schemes_are_torchs(kind: str) -> None:
    arguments = SCHEME_ARGUMENTS[kind]
    drawn = [torch.empty(8, 3).double(), torch.empty(5, 8).double(), torch.empty(1, 5).double()]
    with torch.random.fork_rng():
        torch.manual_seed(11)
        for tensor in drawn:
            getattr(nn.init, f"{kind}_")(tensor, **arguments)

    initial = computed(
        noisy_plane(), model=mlp(batch_norm=True), init={"kind": kind} | arguments, seed=11, steps=1
    ).initial_weights

    for i, tensor in enumerate(drawn):
        np.testing.assert_array_equal(initial[f"layers.{i}.weight"], tensor)
        assert not initial[f"layers.{i}.bias"].any()
    assert (initial["norms.0.weight"] == 1).all()


def test_a_network_learns_what_no_line_can() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 2))
    xor = ((x[:, :1] < 0) != (x[:, 1:] < 0)).astype(float)
    loss = {"kind": "cross_entropy", "label_smoothing": 0.0, "class_weight": None}

    result = computed(
        Data(x, xor, n_classes=2), model=mlp(hidden=[16]), loss=loss, optimizer=ADAM | {"lr": 0.1},
        steps=300,
    )  # fmt: skip

    model = Specification.from_mapping(mapping(model=mlp(hidden=[16]), loss=loss)).model
    scores = predict(model, Shape(200, 2, 1, n_classes=2), result.weights, x)
    assert (scores.argmax(axis=1) == xor[:, 0]).mean() > 0.97

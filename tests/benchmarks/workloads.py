"""What the engine and its peers are timed at: data and specifications, made without torch."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NOTEBOOK = Path(__file__).parents[1] / "cases" / "notebook_seed42.json"
_MSE = {"kind": "mse"}


@dataclass(frozen=True, eq=False)
class Job:
    """One fit.

    x: (n, d) float64; y: (n, k) float64, or (n, 1) classes 0, 1, … where `n_classes` says how many.
    `spec` has the members of a fit's JSON that differ from the contract's defaults, but for the
    initial weights: `init`, float64 arrays by their state_dict names, in the model's order.
    """

    x: Floats
    y: Floats
    spec: dict[str, Any]
    init: dict[str, Floats]
    n_classes: int | None = None


@dataclass(frozen=True)
class Work:
    """A kind of jobs and how many, how large, how long: what a process can be told in JSON."""

    kind: str
    size: Mapping[str, int]

    def jobs(self) -> list[Job]:
        """The jobs, the same in every process; all of one shape, with one specification."""
        return KINDS[self.kind](**self.size)

    def as_json(self) -> dict[str, Any]:
        """What `Work(**…)` makes it from again."""
        return asdict(self)


def _notebook(steps: int) -> list[Job]:
    """The course notebook's line, from its recorded start."""
    case = json.loads(_NOTEBOOK.read_text())
    bias, slope = case["w0"]
    x = np.ascontiguousarray(np.array(case["x"])[:, 1:])
    init = {"weight": np.array([[slope]]), "bias": np.array([bias])}
    return [Job(x, np.array(case["y"])[:, None], _least_squares(0.001, steps=steps), init)]


def _full_batch(n_rows: int, n_features: int, steps: int) -> list[Job]:
    """A plane, by plain gradient descent that is still on its way at the end."""
    return [_plane(n_rows, n_features, 0, _least_squares(0.01, steps=steps))]


def _adaptive(n_rows: int, n_features: int, steps: int) -> list[Job]:
    """A plane, by Adam on all rows, that is still on its way at the end."""
    adam = {"optimizer": {"kind": "adam", "lr": 0.01}}
    return [_plane(n_rows, n_features, 0, _least_squares(0.01, steps=steps) | adam)]


def _mini_batch(n_rows: int, n_features: int, batch_size: int, epochs: int) -> list[Job]:
    """A plane, by shuffled mini-batches."""
    spec = _least_squares(0.01, batch_size=batch_size, epochs=epochs)
    return [_plane(n_rows, n_features, 0, spec)]


def _planes(n_fits: int, n_rows: int, n_features: int, steps: int) -> list[Job]:
    """Planes through tables of their own, all descended alike."""
    spec = _least_squares(0.01, steps=steps)
    return [_plane(n_rows, n_features, seed, spec) for seed in range(n_fits)]


def _digits(epochs: int) -> list[Job]:
    """scikit-learn's handwritten digits, by a perceptron of two hidden layers."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 (most processes have no need of it)

    x, y = load_digits(return_X_y=True)
    hidden = [64, 64]
    spec = {
        "model": {"kind": "mlp", "hidden": hidden, "activation": "relu"},
        "loss": {"kind": "cross_entropy"},
        "optimizer": {"kind": "adam", "lr": 0.001},
        "batch_size": 32,
        "epochs": epochs,
        "dtype": "float32",
    }
    init = _layers([64, *hidden, 10], np.random.default_rng(0))
    return [Job(x / 16, y[:, None].astype(np.float64), spec, init, n_classes=10)]


def _images(n_rows: int, epochs: int) -> list[Job]:
    """As many numbers as a picture of 28 × 28 has, and a class that hangs on a few of them."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(n_rows, 784)).astype(np.float32).astype(np.float64)
    y = np.argmax(x[:, :100] @ rng.normal(size=(100, 10)), axis=1)[:, None].astype(np.float64)
    spec = _perceptron([512, 512], {"kind": "cross_entropy"}, batch_size=128, epochs=epochs)
    return [Job(x, y, spec, _layers([784, 512, 512, 10], rng), n_classes=10)]


def _surface(n_rows: int, epochs: int) -> list[Job]:
    """Many rows of a noisy surface over twenty features."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, 20))
    y = np.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3] + 0.1 * rng.normal(size=(n_rows, 1))
    spec = _perceptron([256, 256], _MSE, batch_size=256, epochs=epochs)
    return [Job(x, y, spec, _layers([20, 256, 256, 1], rng))]


def _perceptron(hidden: list[int], loss: dict[str, Any], **length: int) -> dict[str, Any]:
    return {
        "model": {"kind": "mlp", "hidden": hidden, "activation": "relu"},
        "loss": loss,
        "optimizer": {"kind": "adam", "lr": 0.001},
        "dtype": "float32",
        **length,
    }


def _curves(n_fits: int, n_rows: int, n_hidden: int, steps: int) -> list[Job]:
    """Small perceptrons, each of one noisy surface over two features."""
    spec = {
        "model": {"kind": "mlp", "hidden": [n_hidden], "activation": "tanh"},
        "loss": _MSE,
        "optimizer": {"kind": "adam", "lr": 0.01},
        "steps": steps,
        "dtype": "float32",
    }
    jobs = []
    for seed in range(n_fits):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n_rows, 2))
        y = np.sin(2 * x[:, :1]) * x[:, 1:] + 0.1 * rng.normal(size=(n_rows, 1))
        jobs.append(Job(x, y, spec, _layers([2, n_hidden, 1], rng)))
    return jobs


def _least_squares(lr: float, **length: int) -> dict[str, Any]:
    return {
        "model": {"kind": "linear"},
        "loss": _MSE,
        "optimizer": {"kind": "sgd", "lr": lr},
        "dtype": "float64",
        **length,
    }


def _plane(n_rows: int, n_features: int, seed: int, spec: dict[str, Any]) -> Job:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, n_features))
    y = x @ rng.normal(size=(n_features, 1)) + 3 + 0.5 * rng.normal(size=(n_rows, 1))
    init = {"weight": 0.1 * rng.normal(size=(1, n_features)), "bias": np.zeros(1)}
    return Job(x, y, spec, init)


def _layers(widths: list[int], rng: np.random.Generator) -> dict[str, Floats]:
    """Uniform within 1/√inputs, as torch's layers begin; numbers that a float32 can hold."""
    init: dict[str, Floats] = {}
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        for name, shape in (("weight", (n_out, n_in)), ("bias", (n_out,))):
            drawn = rng.uniform(-1, 1, shape) / np.sqrt(n_in)
            init[f"layers.{i}.{name}"] = drawn.astype(np.float32).astype(np.float64)
    return init


KINDS: Mapping[str, Callable[..., list[Job]]] = {
    "notebook": _notebook,
    "full_batch": _full_batch,
    "adaptive": _adaptive,
    "mini_batch": _mini_batch,
    "planes": _planes,
    "digits": _digits,
    "images": _images,
    "surface": _surface,
    "curves": _curves,
}

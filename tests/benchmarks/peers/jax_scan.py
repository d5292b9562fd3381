"""JAX: the whole fit as one compiled scan over its steps, and many fits by vmap."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.benchmarks.peers.answering import Ready, answer_requests
from tests.benchmarks.peers.figures import Fitted
from tests.benchmarks.peers.orders import orders
from tests.benchmarks.workloads import Job

Array = Any
# A weight and a bias a layer.
Parameters = list[tuple[Array, Array]]
Carry = tuple[Parameters, Any]
Step = Callable[[Carry, tuple[Array, Array]], tuple[Carry, Array]]
Descended = tuple[Parameters, Array]


def prepare(jobs: list[Job]) -> Ready[Descended]:
    """Arrays on the device, and the fit compiled for their shapes."""
    jax.config.update("jax_enable_x64", jobs[0].spec["dtype"] == "float64")
    inputs = [_inputs(job) for job in jobs]
    # One fit is not a batch of one: XLA would give its matrices another dimension.
    several = len(jobs) > 1
    arguments = jax.tree.map(lambda *of: jnp.stack(of), *inputs) if several else inputs[0]
    descend = _descent(jobs[0])
    given = _orders(jobs[0])
    mapped = jax.vmap(descend, in_axes=(0, 0, 0, None)) if several else descend
    compiled = jax.jit(mapped).lower(*arguments, given).compile()

    def run() -> Descended:
        descended: Descended = compiled(*arguments, _orders(jobs[0]))
        jax.block_until_ready(descended)
        return descended

    return Ready(run, lambda descended: _read(descended, len(jobs)))


def _inputs(job: Job) -> tuple[Parameters, Array, Array]:
    dtype = job.spec["dtype"]
    arrays = [jnp.array(array, dtype) for array in job.init.values()]
    parameters = list(zip(arrays[::2], arrays[1::2], strict=True))
    y = job.y if job.n_classes is None else job.y[:, 0]
    return parameters, jnp.array(job.x, dtype), jnp.array(y, dtype if y is job.y else "int32")


def _orders(job: Job) -> Array:
    """Drawn anew for every run, as the engine draws them; none where batches are whole sets."""
    if "epochs" not in job.spec:
        return np.empty((0, len(job.x)), np.int32)
    return np.stack([order.numpy() for order in orders(job)]).astype(np.int32)


def _descent(job: Job) -> Callable[[Parameters, Array, Array, Array], Descended]:
    step, begin = _step(job)
    size = job.spec.get("batch_size", len(job.x))
    whole = len(job.x) // size * size

    def full(carry: Carry, x: Array, y: Array) -> tuple[Carry, Array]:
        steps = job.spec["steps"]
        return lax.scan(lambda of, _: step(of, (x, y)), carry, None, length=steps)  # type: ignore[no-any-return]

    def epoch(carry: Carry, x: Array, y: Array) -> tuple[Carry, Array]:
        cut = [rows[:whole].reshape(-1, size, *rows.shape[1:]) for rows in (x, y)]
        carry, losses = lax.scan(step, carry, tuple(cut))
        if whole == len(x):
            return carry, losses
        carry, last = step(carry, (x[whole:], y[whole:]))
        return carry, jnp.append(losses, last)

    def descend(parameters: Parameters, x: Array, y: Array, given: Array) -> Descended:
        carry = (parameters, begin(parameters))
        if size == len(x):
            carry, losses = full(carry, x, y)
        else:
            carry, losses = lax.scan(lambda of, rows: epoch(of, x[rows], y[rows]), carry, given)
        return carry[0], losses.reshape(-1)

    return descend


def _step(job: Job) -> tuple[Step, Callable[[Parameters], Any]]:
    """One update, and what the optimizer begins with."""
    update, begin = _OPTIMIZERS[job.spec["optimizer"]["kind"]]
    lr = job.spec["optimizer"]["lr"]
    activation = jnp.tanh if job.spec["model"].get("activation") == "tanh" else jax.nn.relu
    of_classes = job.n_classes is not None

    def loss_of(parameters: Parameters, x: Array, y: Array) -> Array:
        for weight, bias in parameters[:-1]:
            x = activation(x @ weight.T + bias)
        answers = x @ parameters[-1][0].T + parameters[-1][1]
        if not of_classes:
            return jnp.mean((y - answers) ** 2)
        scores = jax.nn.log_softmax(answers)
        return -jnp.mean(jnp.take_along_axis(scores, y[:, None], axis=1))

    with_gradients = jax.value_and_grad(loss_of)

    def step(carry: Carry, batch: tuple[Array, Array]) -> tuple[Carry, Array]:
        parameters, state = carry
        loss, gradients = with_gradients(parameters, *batch)
        return update(parameters, state, gradients, lr), loss

    return step, begin


def _sgd(parameters: Parameters, state: Any, gradients: Parameters, lr: float) -> Carry:
    return jax.tree.map(lambda w, g: w - lr * g, parameters, gradients), state


def _adam(parameters: Parameters, state: Any, gradients: Parameters, lr: float) -> Carry:
    """torch.optim.Adam with its defaults."""
    t, mean, square = state
    t = t + 1
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradients)
    square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, gradients)
    # Written as 1 - 0.999**t it would lose four digits of float32's seven in the first steps.
    rate = lr / -jnp.expm1(t * math.log(0.9))
    root = jnp.sqrt(-jnp.expm1(t * math.log(0.999)))
    moved = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + 1e-8), parameters, mean, square
    )
    return moved, (t, mean, square)


def _moments(parameters: Parameters) -> Any:
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    return jnp.zeros((), parameters[0][0].dtype), zeros, zeros


_OPTIMIZERS: dict[str, Any] = {"sgd": (_sgd, lambda parameters: ()), "adam": (_adam, _moments)}


def _read(descended: Descended, n_fits: int) -> Fitted:
    parameters, losses = descended
    arrays = [np.asarray(array).reshape(n_fits, -1) for layer in parameters for array in layer]
    return Fitted(
        weights=np.concatenate(arrays, axis=1),
        losses=np.asarray(losses).reshape(n_fits, -1),
        strategies=[],
    )


if __name__ == "__main__":
    answer_requests(prepare, ("jax", "jaxlib"))

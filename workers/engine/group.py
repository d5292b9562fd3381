"""Fits of one shape and rule, descended together on a device, step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from workers.engine.batched_networks import BatchedNetwork
from workers.engine.batched_rules import BATCHED_RULES, initial_state
from workers.engine.batches import Batches
from workers.engine.capturing import Work, captured
from workers.engine.data import Data
from workers.engine.dtypes import Weights, torch_dtype
from workers.engine.shuffling import shuffle_rows
from workers.engine.specification import Specification

# So many steps are launched as one.
_CAPTURED_STEPS = 16
# How many steps' numbers lie on the device at once.
MOST_STEPS = 1_024
# Jobs computed together: copies fill the places that nobody takes.
_JOBS_FOR_WORK = {2**22: 1, 2**19: 8}
_MOST_JOBS = 32


def n_places(work: int) -> int:
    """The jobs of a group whose steps are so many multiplications each.

    It follows from the shapes alone: libraries choose a batched product's algorithm by the number
    of matrices too, and a fit must have the same bits alone and among others.
    """
    return next((n for least, n in _JOBS_FOR_WORK.items() if work >= least), _MOST_JOBS)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One fit of a group: its rows, what it starts from, and an optimizer's state, if any."""

    spec: Specification
    data: Data
    weights: Weights
    state: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What steps came to: losses, gradients' norms, whether all weights are finite: (s, j) each."""

    loss: NDArray[np.float64]
    grad_norm: NDArray[np.float64]
    is_finite: NDArray[np.bool_]


class Group:
    """Jobs in lockstep: nothing waits for the device while they make steps.

    All of them have the same batches, and specifications that differ in seeds and initial weights
    only. Data and state stay on the device. A job has the same bits in any place; on a CPU in
    float32 only where its matrices are whole lines of the cache long, for what MKL does follows
    from where a matrix begins.
    """

    def __init__(self, jobs: Sequence[Job], batches: Batches, device: torch.device) -> None:
        spec, shape = jobs[0].spec, jobs[0].data.shape
        work = batches.size * sum(w.size for w in jobs[0].weights.values() if w.ndim > 1)
        places = n_places(work)
        if len(jobs) > places:
            raise ValueError(f"a group of such jobs has {places} places, not {len(jobs)}")
        self._jobs = jobs
        self._spec = spec
        self._batches = batches
        self._device = device
        self._shuffled: int | None = None
        self._dtype = torch_dtype(spec.dtype)
        self._network = BatchedNetwork(spec.model, spec.loss, spec.penalty, shape)
        self._rule = BATCHED_RULES[spec.optimizer.kind]
        # The job of each place: past the last one, copies of the first.
        self._of_place = torch.tensor(
            [i if i < len(jobs) else 0 for i in range(places)], device=device
        )
        self._lay_rows()
        self._lay_state()
        self._graphs: dict[tuple[int, int], Work] = {}
        self.load([job.weights for job in jobs], [job.state for job in jobs])

    def load(
        self, weights: Sequence[Weights], states: Sequence[Sequence[Mapping[str, Any]]]
    ) -> None:
        """Put every job's weights and optimizer's state in their places."""
        jobs = self._of_place.tolist()
        for i, (name, parameter) in enumerate(self._parameters.items()):
            self._fill(parameter, [weights[job][name] for job in jobs])
            for kept, tensor in self._state[name].items():
                begin = initial_state(self._spec.optimizer, kept)
                known = [states[job][i].get(kept) if states[job] else None for job in jobs]
                default = np.full(weights[0][name].shape, begin)
                self._fill(tensor, [default if one is None else one for one in known])

    def weights(self, job: int) -> Weights:
        """Copies of a job's weights, by their state_dict names."""
        return {n: self._read(p, n, job) for n, p in self._parameters.items()}

    def state(self, job: int) -> list[dict[str, Any]]:
        """Copies of what a job's optimizer keeps of each parameter, but for the count of steps."""
        return [
            {kept: torch.from_numpy(self._read(t, name, job)) for kept, t in of.items()}
            for name, of in self._state.items()
        ]

    def advance(self, first: int, rates: Sequence[Sequence[float]], made: Sequence[int]) -> Seen:
        """Make steps from `first` on within an epoch: a rate each, a list a job.

        `made` is how many updates each job's optimizer has made before.
        """
        n_steps = len(rates[0])
        self._order_rows(first)
        numbers = [
            [self._rule.numbers(self._spec.optimizer.arguments, made[j] + 1 + s, rates[j][s])
             for j in range(len(rates))]
            for s in range(n_steps)
        ]  # fmt: skip
        self._numbers[:n_steps].copy_(torch.tensor(numbers, dtype=self._dtype).mT)
        self._ready(self._sizes(first, n_steps))
        begin = self._batches.bounds(first)[0]
        self._row.fill_(begin)
        self._at.fill_(0)
        for size, count in self._sizes(first, n_steps):
            self._launch(size, count)
        seen = self._record[:n_steps, :, : len(self._jobs)].to("cpu", torch.float64).numpy()
        return Seen(seen[:, 0], seen[:, 1], seen[:, 2] == 1.0)

    def _sizes(self, first: int, n_steps: int) -> list[tuple[int, int]]:
        """The batch sizes of steps within an epoch, and how many there are of each."""
        start, _ = self._batches.bounds(first + n_steps - 1)
        last = self._batches.bounds(first + n_steps - 1)[1] - start
        if last == self._batches.size:
            return [(last, n_steps)]
        return [(self._batches.size, n_steps - 1), (last, 1)]

    def _launch(self, size: int, count: int) -> None:
        for _ in range(count // _CAPTURED_STEPS):
            self._graph(size, _CAPTURED_STEPS)()
        for _ in range(count % _CAPTURED_STEPS):
            self._graph(size, 1)()

    def _graph(self, size: int, n_steps: int) -> Work:
        return self._graphs[size, n_steps]

    def _ready(self, sizes: list[tuple[int, int]]) -> None:
        """Capture what is not yet; capturing runs steps, so the state is put back after it."""
        wanted = {(s, n) for s, count in sizes if count for n in (1, _CAPTURED_STEPS)}
        missing = sorted(wanted - self._graphs.keys())
        if not missing:
            return
        n_jobs = range(len(self._jobs))
        weights, states = [self.weights(j) for j in n_jobs], [self.state(j) for j in n_jobs]
        for size, n_steps in missing:
            self._row.zero_()
            self._at.zero_()
            self._graphs[size, n_steps] = captured(self._steps(size, n_steps), self._device)
        self.load(weights, states)

    def _steps(self, size: int, n_steps: int) -> Work:
        rows = torch.arange(size, device=self._device)

        def work() -> None:
            for _ in range(n_steps):
                self._step(rows)

        return work

    def _step(self, rows: torch.Tensor) -> None:
        # Captured steps that are only tried may run past the last row.
        taken = self._order.index_select(1, (rows + self._row) % self._batches.n_rows)
        place = self._of_place
        taken, job = taken[place], place[:, None]
        weight = None if self._weight is None else self._weight[job, taken]
        losses = self._network.losses(
            self._parameters, self._x[job, taken], self._y[job, taken], weight
        )
        gradients = torch.autograd.grad(losses.sum(), list(self._parameters.values()))
        with torch.no_grad():
            self._update(losses, gradients)
            self._row.add_(len(rows))
            self._at.add_(1).clamp_(max=MOST_STEPS - 1)

    def _update(self, losses: torch.Tensor, gradients: Sequence[torch.Tensor]) -> None:
        flat = torch.cat([g.flatten(1) for g in gradients], 1)
        norms = torch.linalg.vector_norm(flat, dim=1)
        if self._spec.clip_grad_norm is not None:
            shrink = (self._spec.clip_grad_norm / (norms + 1e-6)).clamp(max=1.0)[:, None, None]
            gradients = [g * shrink for g in gradients]
        numbers = self._numbers.index_select(0, self._at)[0][:, self._of_place]
        arguments = self._spec.optimizer.arguments
        columns = [one[:, None, None] for one in numbers]
        for (name, parameter), gradient in zip(self._parameters.items(), gradients, strict=True):
            self._rule.update(arguments, parameter, gradient, self._state[name], columns)
        flat = torch.cat([p.flatten(1) for p in self._parameters.values()], 1)
        finite = flat.isfinite().all(1).to(self._dtype)
        self._record.index_copy_(0, self._at, torch.stack([losses, norms, finite])[None])

    def _order_rows(self, first: int) -> None:
        epoch = self._batches.shuffle_of(first)
        if not self._batches.shuffled or epoch == self._shuffled:
            return
        orders = [
            shuffle_rows(self._batches.n_rows, j.spec.seeds.shuffle, epoch) for j in self._jobs
        ]
        self._order.copy_(torch.stack(orders))
        self._shuffled = epoch

    def _lay_rows(self) -> None:
        data = [job.data for job in self._jobs]
        self._x = self._on_device([one.x for one in data])
        self._y = self._on_device([one.y for one in data])
        weights = [one.weight for one in data if one.weight is not None]
        self._weight = self._on_device(weights) if weights else None
        rows = torch.arange(self._batches.n_rows, device=self._device)
        self._order = rows.expand(len(data), -1).clone()

    def _lay_state(self) -> None:
        places, device = len(self._of_place), self._device
        names = self._rule.names(self._spec.optimizer.arguments)
        self._shapes = self._spec.model.weight_shapes(self._jobs[0].data.shape)

        def room(shape: tuple[int, ...]) -> torch.Tensor:
            rows = shape if len(shape) > 1 else (1, *shape)
            return torch.zeros(places, *rows, dtype=self._dtype, device=device)

        self._parameters = {n: room(s).requires_grad_() for n, s in self._shapes.items()}
        self._state = {n: {k: room(s) for k in names} for n, s in self._shapes.items()}
        n_numbers = len(self._rule.numbers(self._spec.optimizer.arguments, 1, 1.0))
        self._numbers = room((MOST_STEPS, n_numbers, len(self._jobs)))[0]
        self._record = room((MOST_STEPS, 3, places))[0]
        self._at = torch.zeros(1, dtype=torch.int64, device=device)
        self._row = torch.zeros(1, dtype=torch.int64, device=device)

    def _on_device(self, arrays: Sequence[NDArray[np.float64]]) -> torch.Tensor:
        return torch.stack([torch.from_numpy(a).to(self._device, self._dtype) for a in arrays])

    def _fill(self, tensor: torch.Tensor, arrays: Sequence[Any]) -> None:
        parts = [torch.as_tensor(a).to(self._dtype).view(tensor.shape[1:]) for a in arrays]
        with torch.no_grad():
            tensor.copy_(torch.stack(parts))

    def _read(self, tensor: torch.Tensor, name: str, job: int) -> NDArray[Any]:
        found: NDArray[Any] = tensor[job].detach().cpu().numpy()
        return found.reshape(self._shapes[name]).copy()

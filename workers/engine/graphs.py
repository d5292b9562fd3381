"""A fit under way on a device that computes many at once."""

from typing import Any

import numpy as np
import torch
from torch import nn

from workers.engine.backpropagation import Backpropagation
from workers.engine.batched_rules import BATCHED_RULES
from workers.engine.batches import Batches
from workers.engine.data import Data
from workers.engine.dtypes import Weights, torch_dtype
from workers.engine.errors import SpecificationError
from workers.engine.group import MOST_STEPS, Group, Job, Seen, n_places
from workers.engine.large import large_rows
from workers.engine.named_parts import Arrays, joined, part
from workers.engine.results import Status
from workers.engine.rule import Rule
from workers.engine.snapshot import Snapshot, Start
from workers.engine.specification import Specification
from workers.engine.threads import threads_for, torch_threads
from workers.engine.trace import Trace

_COUNT = "step"
_CHUNK_WORK = 2**32
# Every place of a group is work to a CPU, which is slower by so much.
_CPU_SLOWDOWN = 2**4
_CPU_STEP_OVERHEAD_WORK = 2**21


def device_of(spec: Specification) -> torch.device:
    """Where the fit is computed; SpecificationError where this machine has no such device."""
    if spec.device != "cuda":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise SpecificationError("/device", "this worker has no CUDA device")
    return torch.device("cuda")


class GraphsDescent:
    """A fit under way as a group of its own. See `workers.engine.descent.Descent`.

    The loss over the whole set is summed on the CPU, as any worker can do again.
    """

    # Fits that may end before their last step are not planned for this.
    end: Status | None = None

    def __init__(self, spec: Specification, data: Data, batches: Batches, start: Start) -> None:
        snapshot = start.snapshot
        initial = start.weights if snapshot is None else snapshot.weights
        self._spec = spec
        self._data = data
        self._names = list(start.weights)
        state = [] if snapshot is None else snapshot.optimizer
        self.trace = Trace(batches, spec.record.every, spec.optimizer.lr, snapshot)
        # A stand-in's: torch's own schedule moves its rate.
        self._rates = Rule(spec, [nn.Parameter(torch.zeros(1))], self.trace, snapshot)
        self._made = _steps_made(state)
        device = device_of(spec)
        self._group = Group([Job(spec, data, initial, state)], batches, device)
        self.n_steps = 0
        self.failed_step: int | None = None
        work = batches.size * sum(w.size for w in initial.values())
        self.n_threads = threads_for(work)
        self.chunk_steps = _steps_a_chunk(work, device)

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer where one fails."""
        stop = self.n_steps + n_steps
        with torch_threads(self.n_threads):
            while self.n_steps < stop and self.failed_step is None:
                self._stretch(min(stop - self.n_steps, self._most_steps()))

    def settle(self) -> None:
        """The last weights are the ones to give."""

    def weights(self) -> Weights:
        """Copies of the weights by their state_dict names."""
        found = self._group.weights(0)
        return {name: found[name] for name in self._names}

    def gradients(self) -> Weights:
        """Fits that record them are not planned for this: RuntimeError."""
        raise RuntimeError("gradients stay on the device")

    def snapshot(self) -> Snapshot:
        """What another fit needs to go on from the last update."""
        return self.trace.snapshot(
            self.n_steps,
            made_by=self._spec.optimizer.made_by,
            weights=self.weights(),
            optimizer=self._state(),
            schedule=self._rates.schedule_state(),
        )

    def kept(self) -> Arrays:
        """Copies of all that `advance` changes, but for the trace."""
        made = {"made": np.array([self._made])}
        return joined({"snapshot": self.snapshot().to_arrays(), "updates": made})

    def take_up(self, kept: Arrays, n_steps: int) -> None:
        """Go to where the same fit kept this."""
        snapshot = Snapshot.from_arrays(part(kept, "snapshot"))
        self._group.load([snapshot.weights], [snapshot.optimizer])
        self._rates.rewind(snapshot)
        self._made = int(part(kept, "updates")["made"][0])
        self.n_steps = n_steps

    def final_loss(self) -> float:
        """The loss over the whole training set."""
        spec, shape = self._spec, self._data.shape
        model = spec.model.module(shape, torch_dtype(spec.dtype)).eval()
        model.load_state_dict({n: torch.from_numpy(w) for n, w in self.weights().items()})
        rows = large_rows(spec, self._data, self.trace.batches)
        with torch.no_grad(), torch_threads(self.n_threads):
            return Backpropagation(model, spec.loss, spec.penalty).mean(rows.all_parts())

    def _state(self) -> list[dict[str, Any]]:
        """The optimizer's, as torch's has it; none before the first update."""
        if not self._made:
            return []
        state = self._group.state(0)
        if BATCHED_RULES[self._spec.optimizer.kind].counts:
            for of in state:
                of[_COUNT] = torch.tensor(float(self._made))
        return [of for of in state if of]

    def _most_steps(self) -> int:
        """How many steps need nothing from the host: those of the epoch, if it has an order."""
        batches = self.trace.batches
        if not batches.shuffled and batches.per_epoch * batches.size == batches.n_rows:
            return MOST_STEPS
        past = (batches.position + self.n_steps) % batches.per_epoch
        return min(MOST_STEPS, batches.per_epoch - past)

    def _stretch(self, n_steps: int) -> None:
        """Make the steps, and look at them then; where one fails, make those before it anew."""
        before = self._group.weights(0), self._group.state(0)
        rates = self._draw(n_steps)
        seen = self._group.advance(self.n_steps, [rates], [self._made])
        n_good = _first_bad(seen)
        if n_good < n_steps:
            self._group.load([before[0]], [before[1]])
            if n_good:
                self._group.advance(self.n_steps, [rates[:n_good]], [self._made])
            self.failed_step = self.n_steps + n_good
        n_known = n_good + (n_good < n_steps and bool(abs(seen.loss[n_good, 0]) < float("inf")))
        for i in range(n_known):
            self.trace.add(float(seen.loss[i, 0]), float(seen.grad_norm[i, 0]), rates[i])
        self.n_steps += n_good
        self._made += n_good

    def _draw(self, n_steps: int) -> list[float]:
        """The rates of the next steps."""
        batches, rates = self.trace.batches, []
        for step in range(self.n_steps, self.n_steps + n_steps):
            rates.append(self._rates.lr)
            self._rates.tick()
            self._rates.move("step", 0.0)
            if batches.ends_epoch(step + 1):
                self._rates.move("epoch", 0.0)
        return rates


def _steps_a_chunk(work: int, device: torch.device) -> int:
    """How many steps of so much work each take some milliseconds."""
    if device.type == "cpu":
        work = _CPU_SLOWDOWN * (work * n_places(work) + _CPU_STEP_OVERHEAD_WORK)
    return min(MOST_STEPS, max(1, _CHUNK_WORK // work))


def _first_bad(seen: Seen) -> int:
    """How many steps come before the first whose loss, or whose weights, are not finite."""
    good = seen.is_finite[:, 0] & (abs(seen.loss[:, 0]) < float("inf"))
    return len(good) if good.all() else int(good.argmin())


def _steps_made(state: list[dict[str, Any]]) -> int:
    """The updates that an optimizer of this state has made, or 1 where it does not count them."""
    if not state:
        return 0
    return int(state[0].get(_COUNT, 1))

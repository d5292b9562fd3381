"""The learning rate of every update, known before the first one."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.engine import schedule_loops
from workers.engine.batches import Batches
from workers.engine.optimizers import Optimizer
from workers.engine.schedule_state import take_up, write_down
from workers.engine.schedules import Schedule
from workers.engine.snapshot import ScheduleState, Snapshot
from workers.engine.specification import Specification

Floats = NDArray[np.float64]
Moves = NDArray[np.int64]


class _Path(NamedTuple):
    """What a schedule sets by each of its moves: the rates, the momentum, its own counters.

    None where it leaves the momentum alone; `counters` are arrays under the schedule's own names.
    """

    lr: Floats
    momentum: Floats | None = None
    counters: Mapping[str, Floats] = {}


class Rates:
    """What the schedule sets for every update of a fit: `lr` and `momentum`, (T,) float64.

    The momentum is the optimizer's own, or the first of its betas, or 0 where it has neither. The
    arrays must not be written to.
    """

    def __init__(
        self, spec: Specification, batches: Batches, snapshot: Snapshot | None = None
    ) -> None:
        self._spec = spec
        self._batches = batches
        self.lr: Floats = np.broadcast_to(spec.optimizer.lr, batches.total_steps)
        self.momentum: Floats = np.broadcast_to(_momentum(spec.optimizer), batches.total_steps)
        if spec.schedule is None:
            return
        n_moves = batches.n_moves(spec.schedule.interval)
        self._optimizer = spec.optimizer.for_schedule()
        self._schedule = spec.schedule.build(self._optimizer, n_moves)
        state = None if snapshot is None else snapshot.schedule
        take_up(spec, state, self._schedule, self._optimizer, n_moves)
        self._first: int = self._schedule.last_epoch
        self._path = self._walk(spec.schedule, n_moves)
        n_moved = self._n_moved(np.arange(batches.total_steps))
        self.lr = self._path.lr[n_moved]
        if self._path.momentum is not None:
            self.momentum = self._path.momentum[n_moved]

    def state(self, n_steps: int) -> ScheduleState | None:
        """Where the schedule is after so many updates, as torch's own would write it down."""
        if self._spec.schedule is None:
            return None
        n_moved = int(self._n_moved(np.array(n_steps)))
        schedule = copy.copy(self._schedule)
        vars(schedule).update({k: int(v[n_moved]) for k, v in self._path.counters.items()})
        schedule.last_epoch = self._first + n_moved
        lr = float(self._path.lr[n_moved])
        schedule._last_lr = [lr]
        # It has a step of its own, which does not count.
        if self._spec.schedule.kind != "cosine_warm_restarts":
            schedule._step_count += n_moved
        group = self._optimizer.param_groups[0] | {"lr": lr}
        if self._path.momentum is not None:
            _set_momentum(group, float(self._path.momentum[n_moved]))
        return write_down(self._spec, schedule, group)

    def _walk(self, scheduled: Schedule, n_moves: int) -> _Path:
        """The path from where the schedule is, that place included."""
        group = self._optimizer.param_groups[0]
        moves = np.arange(self._first + 1, self._first + n_moves + 1)
        with np.errstate(all="ignore"):
            path = PATHS[scheduled.kind](self._schedule, group, moves)
        momentum = path.momentum
        if momentum is not None:
            at = group["betas"][0] if "betas" in group else group["momentum"]
            momentum = np.concatenate([[at], momentum])
        return path._replace(lr=np.concatenate([[group["lr"]], path.lr]), momentum=momentum)

    def _n_moved(self, steps: Moves) -> Moves:
        """How often the schedule moves before each of these updates."""
        scheduled = self._spec.schedule
        if scheduled is None or scheduled.interval == "step":
            return steps
        batches = self._batches
        return (batches.position + steps) // batches.per_epoch - batches.shuffle_of(0)


def rates(spec: Specification, batches: Batches, snapshot: Snapshot | None = None) -> Rates | None:
    """The rates of a fit that goes on from the snapshot, if any.

    None where its schedule looks at the loss. Raises SpecificationError as torch's schedule would,
    or where it ends too early.
    """
    if spec.schedule is not None and spec.schedule.kind not in PATHS:
        return None
    return Rates(spec, batches, snapshot)


def _momentum(optimizer: Optimizer) -> float:
    arguments = optimizer.all_arguments
    return float(arguments["betas"][0] if "betas" in arguments else arguments.get("momentum", 0.0))


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _multiplied(group: Mapping[str, Any], factors: Floats) -> _Path:
    """Each move multiplies the rate: one product after the other, as torch takes them."""
    return _Path(np.multiply.accumulate(np.concatenate([[group["lr"]], factors]))[1:])


def _by_steps(schedule: Any, group: Mapping[str, Any], moves: Moves) -> _Path:
    return _multiplied(group, np.where(moves % schedule.step_size == 0, schedule.gamma, 1.0))


def _by_milestones(schedule: Any, group: Mapping[str, Any], moves: Moves) -> _Path:
    factors = np.ones(len(moves))
    for milestone, times in schedule.milestones.items():
        factors[moves == milestone] = schedule.gamma**times
    return _multiplied(group, factors)


def _exponentially(schedule: Any, group: Mapping[str, Any], moves: Moves) -> _Path:
    return _multiplied(group, np.full(len(moves), float(schedule.gamma)))


def _linearly(schedule: Any, group: Mapping[str, Any], moves: Moves) -> _Path:
    rise = schedule.end_factor - schedule.start_factor
    height = schedule.total_iters * schedule.start_factor + (moves - 1) * rise
    return _multiplied(group, np.where(moves > schedule.total_iters, 1.0, 1.0 + rise / height))


def _once(schedule: Any, group: Mapping[str, Any], moves: Moves) -> _Path:
    """ConstantLR: what it was multiplied by at first is taken back."""
    back = np.divide(1.0, schedule.factor)
    return _multiplied(group, np.where(moves == schedule.total_iters, back, 1.0))


def _polynomially(schedule: Any, group: Mapping[str, Any], moves: Moves) -> _Path:
    lr, power = float(group["lr"]), float(schedule.power)
    return _Path(schedule_loops.decay_polynomially(lr, moves, schedule.total_iters, power))


def _annealing(schedule: Any, group: Mapping[str, Any], moves: Moves) -> _Path:
    lr, base_lr, eta_min = (
        float(value) for value in (group["lr"], schedule.base_lrs[0], schedule.eta_min)
    )
    return _Path(schedule_loops.anneal(lr, moves, base_lr, eta_min, schedule.T_max))


def _restarting(schedule: Any, group: Mapping[str, Any], moves: Moves) -> _Path:
    # Where the wave's place and length are, the schedule's own first.
    place, length = np.empty(len(moves) + 1), np.empty(len(moves) + 1)
    made, at, wave = 0, schedule.T_cur, schedule.T_i
    while made <= len(moves):
        if schedule.T_mult == 1:
            rest = at + np.arange(len(moves) + 1 - made)
            place[made:], length[made:] = rest % wave, wave
            break
        stop = min(made + wave - at, len(moves) + 1)
        place[made:stop], length[made:stop] = at + np.arange(stop - made), wave
        made, at, wave = stop, 0, wave * schedule.T_mult
    base_lr, eta_min = float(schedule.base_lrs[0]), float(schedule.eta_min)
    lr = schedule_loops.restart(place[1:], length[1:], base_lr, eta_min)
    return _Path(lr, counters={"T_cur": place, "T_i": length})


def _cycling_once(schedule: Any, group: Mapping[str, Any], moves: Moves) -> _Path:
    phases = schedule._schedule_phases
    ends = np.array([float(phase["end_step"]) for phase in phases])
    cosine = schedule._anneal_func_type == "cos"

    def moved(name: str) -> Floats:
        names = [phase[f"start_{name}"] for phase in phases] + [phases[-1][f"end_{name}"]]
        levels = np.array([float(group[one]) for one in names])
        return np.asarray(schedule_loops.cycle_once(moves, ends, levels, cosine))

    return _Path(moved("lr"), moved("momentum") if schedule.cycle_momentum else None)


def _cycling(schedule: Any, group: Mapping[str, Any], moves: Moves) -> _Path:
    mode = ("triangular", "triangular2", "exp_range").index(schedule.mode)
    heights = schedule_loops.cycle(
        moves, schedule.total_size, schedule.step_ratio, mode, float(schedule.gamma)
    )
    base_lr, max_lr = schedule.base_lrs[0], schedule.max_lrs[0]
    lr = base_lr + (max_lr - base_lr) * heights
    if not schedule.cycle_momentum:
        return _Path(lr)
    base, most = schedule.base_momentums[0], schedule.max_momentums[0]
    return _Path(lr, most - (most - base) * heights)


# One entry a kind of the contract that looks at no loss.
PATHS: Mapping[str, Callable[[Any, Mapping[str, Any], Moves], _Path]] = {
    "step": _by_steps,
    "multistep": _by_milestones,
    "exponential": _exponentially,
    "cosine": _annealing,
    "cosine_warm_restarts": _restarting,
    "one_cycle": _cycling_once,
    "linear": _linearly,
    "polynomial": _polynomially,
    "constant": _once,
    "cyclic": _cycling,
}

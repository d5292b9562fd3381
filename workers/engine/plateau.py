"""The learning rates of a schedule that looks at the losses."""

import copy

import numpy as np
from numpy.typing import NDArray

from workers.engine.batches import Batches
from workers.engine.normal_problem import Plateau
from workers.engine.schedule_state import take_up, write_down
from workers.engine.snapshot import ScheduleState, Snapshot
from workers.engine.specification import Specification

Floats = NDArray[np.float64]

# Where no schedule looks at the loss.
NO_PLATEAU = Plateau(False, 1.0, False, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, True)


class PlateauRates:
    """What `reduce_on_plateau` begins with, of a fit on all rows at every step.

    `lr` and `momentum`, (T,) float64, are those before the first move: see
    `workers.engine.rates.Rates`. `place` (4,) is the rate, the best loss, how many were bad since
    then, and what is left of the cooldown; `rule` moves it.
    """

    def __init__(self, spec: Specification, batches: Batches, snapshot: Snapshot | None) -> None:
        if spec.schedule is None:
            raise ValueError("there is no schedule")
        self._spec = spec
        self._optimizer = spec.optimizer.for_schedule()
        n_moves = batches.n_moves(spec.schedule.interval)
        self._schedule = spec.schedule.build(self._optimizer, n_moves)
        state = None if snapshot is None else snapshot.schedule
        take_up(spec, state, self._schedule, self._optimizer, n_moves)
        group = self._optimizer.param_groups[0]
        momentum = group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
        self.lr: Floats = np.broadcast_to(float(group["lr"]), batches.total_steps)
        self.momentum: Floats = np.broadcast_to(float(momentum), batches.total_steps)
        of = vars(self._schedule)
        self.place = np.array(
            [group["lr"], of["best"], of["num_bad_epochs"], of["cooldown_counter"]]
        )
        self.rule = Plateau(
            moves=True,
            sign=1.0 if of["mode"] == "min" else -1.0,
            relative=of["threshold_mode"] == "rel",
            threshold=float(of["threshold"]),
            factor=float(of["factor"]),
            patience=float(of["patience"]),
            cooldown=float(of["cooldown"]),
            min_lr=float(of["min_lrs"][0]),
            eps=float(of["eps"]),
            # An epoch's is the held-out one.
            monitors_train=spec.schedule.interval == "step",
        )

    def state(self, n_steps: int) -> ScheduleState | None:
        """Where the schedule is after so many updates that led to `place`."""
        schedule, group = copy.copy(self._schedule), self._optimizer.param_groups[0]
        lr, best, n_bad, cooldown = (float(number) for number in self.place)
        vars(schedule).update(
            best=best,
            num_bad_epochs=int(n_bad),
            cooldown_counter=int(cooldown),
            last_epoch=self._schedule.last_epoch + n_steps,
            _last_lr=[lr],
        )
        return write_down(self._spec, schedule, group | {"lr": lr})

"""Where a schedule is, written down for another fit and taken up again."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch.optim import Optimizer as TorchOptimizer
from torch.optim import lr_scheduler

from workers.engine.errors import SpecificationError
from workers.engine.snapshot import ScheduleState
from workers.engine.specification import Specification

# What a schedule sets in the optimizer's group.
_MOVED = ("lr", "momentum", "betas")


def made_of(spec: Specification) -> dict[str, Any] | None:
    """What tells the fit's schedule from others, as JSON says it; None where there is none."""
    if spec.schedule is None:
        return None
    parts = {"initial_lr": spec.optimizer.lr, **asdict(spec.schedule)}
    plain: dict[str, Any] = json.loads(json.dumps(parts))
    return plain


def take_up(
    spec: Specification,
    state: ScheduleState | None,
    schedule: lr_scheduler.LRScheduler,
    optimizer: TorchOptimizer,
    n_moves: int,
) -> None:
    """Go on from the state, if it is that of the same schedule; else the schedule begins anew.

    Raises SpecificationError where a cycle that has begun is too short for so many moves.
    """
    if state is None or state.made_of != made_of(spec):
        return
    _refuse_past_the_end(state, n_moves)
    put(state, schedule, optimizer)


def put(
    state: ScheduleState, schedule: lr_scheduler.LRScheduler, optimizer: TorchOptimizer
) -> None:
    """Move the schedule to where the state says, and what it sets in the optimizer with it."""
    vars(schedule).update(state.state)
    moved = {k: tuple(v) if isinstance(v, list) else v for k, v in state.group.items()}
    optimizer.param_groups[0].update(moved)


def write_down(
    spec: Specification, schedule: lr_scheduler.LRScheduler, group: Mapping[str, Any]
) -> ScheduleState:
    """Where the fit's schedule is, and the rate and momentum that it has set in the group."""
    # What is no number, or a list of them, follows from what it was made of.
    state = {k: v for k, v in schedule.state_dict().items() if _is_numeric(v)}
    return ScheduleState(made_of(spec) or {}, state, {k: group[k] for k in _MOVED if k in group})


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_numeric, value))
    return isinstance(value, int | float)


def _refuse_past_the_end(state: ScheduleState, n_moves: int) -> None:
    made = state.state["last_epoch"]
    total = state.state.get("total_steps", math.inf)
    if made + n_moves > total:
        detail = f"the cycle of {total} moves has made {made}, and {n_moves} more are to come"
        raise SpecificationError("/scheduler/total_steps", detail)

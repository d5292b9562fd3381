"""Whether the parts of a request suit each other and the dataset's numbers."""

from collections.abc import Mapping
from typing import Any

from service.errors import Place
from service.pointers import pointer
from service.schemas.fits import FitRequest
from service.schemas.losses import PoissonLoss
from service.schemas.schedules import CyclicSchedule, OneCycleSchedule

Columns = Mapping[str, Mapping[str, Any]]


def unsuitable_places(request: FitRequest, columns: Columns, n_moves: int) -> list[Place]:
    """What torch would refuse, or what would mean nothing, each with its pointer.

    `columns` are the dataset's by name, and hold every target; `n_moves` is how often a schedule
    would move the rate.
    """
    return [*_schedule_places(request, n_moves), *_target_places(request, columns)]


def _schedule_places(request: FitRequest, n_moves: int) -> list[Place]:
    schedule = request.scheduler
    places = []
    cycles = isinstance(schedule, CyclicSchedule | OneCycleSchedule) and schedule.cycle_momentum
    if cycles and not {"momentum", "betas"} & set(type(request.optimizer).model_fields):
        detail = f"{request.optimizer.kind} has no momentum to cycle; set cycle_momentum to false"
        places.append(Place("no_momentum", detail, "/scheduler/cycle_momentum"))
    if isinstance(schedule, OneCycleSchedule) and (schedule.total_steps or n_moves) < n_moves:
        detail = f"the cycle must last for all {n_moves} moves of the fit, or be null"
        places.append(Place("short_cycle", detail, "/scheduler/total_steps"))
    return places


def _target_places(request: FitRequest, columns: Columns) -> list[Place]:
    if not isinstance(request.loss, PoissonLoss):
        return []
    several = not isinstance(request.target, str)
    return [
        Place(
            "negative_target",
            f"{name!r} has numbers below 0, and poisson counts",
            pointer("target", i) if several else "/target",
        )
        for i, name in enumerate(request.targets)
        if columns[name]["min"] < 0
    ]

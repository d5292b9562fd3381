"""The inner state of a fit between two updates: what another fit needs to go on from there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from workers.engine.dtypes import Weights
from workers.engine.named_parts import Arrays

_FACTS = "facts"
_WEIGHT = "weight."
_PLACE = "array"
_SPECTRAL = "spectral."
_SPECTRAL_ARRAYS = ("origin", "place", "pull", "velocity")
_NORMAL_ORIGIN = "normal.origin"


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """Where a schedule is: what it was made of, its own `state_dict`, and the group it set."""

    made_of: Mapping[str, Any]
    state: Mapping[str, Any]
    group: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class SpectralState:
    """A closed form's own numbers, which the weights and the momentum were rounded from.

    `origin`, `place`, `pull` and `velocity` (k·p,) float64 belong to the spectrum of this `digest`
    around the weights `origin`; to any other they mean nothing.
    """

    digest: str
    origin: NDArray[np.float64]
    place: NDArray[np.float64]
    pull: NDArray[np.float64]
    velocity: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NormalState:
    """Where a descent by normal equations has its weights from: `origin` (k·p,) float64.

    Of these weights the rows' normal equations have the spectrum of this `digest`.
    """

    digest: str
    origin: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A fit between two updates.

    `position` updates were made since the shuffles began, `per_epoch` to an epoch; `epoch_sum` is
    the trace's sum for an epoch that has not ended. `weights` are in the precision in which the
    strategy computes. `optimizer` is the state of torch's optimizer, a dictionary a parameter in
    the module's order, its tensors perhaps numpy arrays; `made_by` is what the optimizer was, but
    for its rate. A closed form leaves its `spectral` state beside these, and a descent by normal
    equations its `normal` one.
    """

    position: int
    per_epoch: int
    epoch_sum: float
    weights: Weights
    made_by: Mapping[str, Any]
    optimizer: list[dict[str, Any]]
    schedule: ScheduleState | None = None
    spectral: SpectralState | None = None
    normal: NormalState | None = None

    def position_for(self, per_epoch: int) -> int:
        """Where a fit with so many updates an epoch goes on.

        At the same update where the epochs are alike, else at the next whole epoch.
        """
        if per_epoch == self.per_epoch:
            return self.position
        return -(-self.position // self.per_epoch) * per_epoch

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The snapshot as named arrays, without loss."""
        arrays: dict[str, NDArray[Any]] = {_WEIGHT + n: w for n, w in self.weights.items()}
        schedule, spectral = self.schedule, self.spectral
        facts = {
            "position": self.position,
            "per_epoch": self.per_epoch,
            "epoch_sum": self.epoch_sum,
            "made_by": dict(self.made_by),
            "optimizer": _pack(self.optimizer, arrays),
            "schedule": schedule
            and {
                "made_of": dict(schedule.made_of),
                "state": dict(schedule.state),
                "group": dict(schedule.group),
            },
            "spectral": spectral and spectral.digest,
            "normal": self.normal and self.normal.digest,
        }
        if spectral is not None:
            arrays |= {_SPECTRAL + name: getattr(spectral, name) for name in _SPECTRAL_ARRAYS}
        if self.normal is not None:
            arrays[_NORMAL_ORIGIN] = self.normal.origin
        arrays[_FACTS] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """The snapshot of `to_arrays`."""
        facts = json.loads(arrays[_FACTS].tobytes())
        schedule, digest = facts["schedule"], facts.get("spectral")
        spectral = (arrays[_SPECTRAL + name] for name in _SPECTRAL_ARRAYS)
        normal = facts.get("normal")
        return cls(
            position=facts["position"],
            per_epoch=facts["per_epoch"],
            epoch_sum=facts["epoch_sum"],
            made_by=facts["made_by"],
            weights={
                name.removeprefix(_WEIGHT): array
                for name, array in arrays.items()
                if name.startswith(_WEIGHT)
            },
            optimizer=_unpack(facts["optimizer"], arrays),
            schedule=schedule and ScheduleState(**schedule),
            spectral=None if digest is None else SpectralState(digest, *spectral),
            normal=None if normal is None else NormalState(normal, arrays[_NORMAL_ORIGIN]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Where a fit begins: weights by their state_dict names, and an earlier fit's inner state."""

    weights: Weights
    snapshot: Snapshot | None = None


def _pack(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """What JSON can say; tensors go to `arrays`, and their names stay."""
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy().copy()
    if isinstance(value, np.ndarray):
        name = str(len(arrays))
        # Some formats have no array without an axis.
        arrays[name] = np.atleast_1d(value)
        return {_PLACE: name, "shape": value.shape}
    if isinstance(value, dict):
        return {"dict": {key: _pack(one, arrays) for key, one in value.items()}}
    if isinstance(value, list | tuple):
        return [_pack(one, arrays) for one in value]
    return value


def in_tensors(value: Any) -> Any:
    """A copy whose arrays and tensors, however deep they lie, are tensors of its own."""
    if isinstance(value, dict):
        return {key: in_tensors(one) for key, one in value.items()}
    if isinstance(value, list):
        return [in_tensors(one) for one in value]
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


def _unpack(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, list):
        return [_unpack(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    if _PLACE in value:
        return arrays[value[_PLACE]].reshape(value["shape"])
    return {key: _unpack(one, arrays) for key, one in value["dict"].items()}

"""A peer's timings, and how peers take turns."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """What one peer's rounds took, in seconds."""

    name: str
    seconds: list[float]

    @property
    def median_seconds(self) -> float:
        """The median round."""
        return statistics.median(self.seconds)

    def as_json(self) -> dict[str, str | float]:
        """The figures that the report keeps."""
        return {
            "name": self.name,
            "median_seconds": self.median_seconds,
            "min_seconds": min(self.seconds),
        }


def interleaved(
    calls: Mapping[str, Callable[[], None]], rounds: int, warm_up_rounds: int
) -> list[Timing]:
    """Call them turn by turn, so that a noisy machine is noisy for all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warm_up_rounds):
        for call in calls.values():
            call()
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return [Timing(name, taken) for name, taken in seconds.items()]

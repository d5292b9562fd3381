"""A peer's timings."""

import statistics
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

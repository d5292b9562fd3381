"""What the requests of a load were answered with, operation by operation."""

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

_NO_ANSWER = "no answer"
_SHOWN_BYTES = 300


@dataclass(frozen=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body; raises ValueError where it is no JSON."""
        return orjson.loads(self.body)

    @property
    def queue_full(self) -> bool:
        """Whether the service deliberately took nothing more for now."""
        if self.status != 503 or "Retry-After" not in self.headers:
            return False
        return bool(self.json()["code"] == "queue_full")


def fault_of(answer: Answer | None, expected: Collection[int]) -> str | None:
    """Why the answer must not have been, None where it may; a full queue may always be."""
    if answer is None:
        return _NO_ANSWER
    if answer.queue_full or (answer.status in expected and answer.status < 500):
        return None
    return f"{answer.status} {answer.body[:_SHOWN_BYTES]!r}"


@dataclass
class _Operation:
    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


class Tally:
    """The counts of a load; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operations: defaultdict[str, _Operation] = defaultdict(_Operation)
        self._faults: list[str] = []

    def count(
        self, operation: str, request: str, answer: Answer | None, seconds: float,
        expected: Collection[int],
    ) -> None:  # fmt: skip
        """Count one answer, None where the connection ended without one.

        `request` tells which one it was, for where it is a fault.
        """
        reason = fault_of(answer, expected)
        with self._lock:
            counted = self._operations[operation]
            counted.answers[_NO_ANSWER if answer is None else f"{answer.status // 100}xx"] += 1
            counted.seconds.append(seconds)
            if reason is not None:
                self._faults.append(f"{operation}: {request}: {reason}")

    def fault(self, text: str) -> None:
        """Note what no status tells."""
        with self._lock:
            self._faults.append(text)

    @property
    def faults(self) -> list[str]:
        """Every answer that must not have been, and all else that was noted."""
        with self._lock:
            return [*self._faults]

    @property
    def n_answers(self) -> int:
        """How many answers there have been."""
        with self._lock:
            return sum(len(counted.seconds) for counted in self._operations.values())

    def as_json(self) -> dict[str, dict[str, Any]]:
        """By operation: how many answers of each class, and how long they took."""
        with self._lock:
            return {
                name: {
                    "answers": dict(sorted(counted.answers.items())),
                    "median_seconds": float(np.median(counted.seconds)),
                    "p99_seconds": float(np.quantile(counted.seconds, 0.99)),
                }
                for name, counted in sorted(self._operations.items())
            }

"""How a peer's process takes its work and is told when to run, a line of JSON each."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Generic, TypeVar

from tests.benchmarks.peers.figures import Fitted, figures
from tests.benchmarks.workloads import Job, Work

Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Ready(Generic[Outcome]):
    """Work that only needs to be run.

    `run` is what is timed: from the initial weights to the last, every step's loss with them.
    `read` puts its outcome into numbers, untimed; it gives None where these are no fit's.
    """

    run: Callable[[], Outcome]
    read: Callable[[Outcome], Fitted | None]


Prepare = Callable[[list[Job]], Ready[Any]]


def answer_requests(prepare: Prepare, distributions: Sequence[str]) -> None:
    """Answer every line of the standard input, until it ends.

    `{"work": …}` → `{"versions"}` once the data lie ready and all is compiled that can be.
    `{"calls": n}` → `{"seconds", "figures"}`: the time of each of n runs, and the last one's
    figures.
    """
    for line in sys.stdin:
        request = json.loads(line)
        if "work" in request:
            jobs = Work(**request["work"]).jobs()
            ready = prepare(jobs)
            answer: dict[str, Any] = {"versions": {name: version(name) for name in distributions}}
        else:
            seconds, fitted = _timed(ready, request["calls"])
            found = None if fitted is None else figures(jobs, fitted)
            answer = {"seconds": seconds, "figures": found}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _timed(ready: Ready[Outcome], calls: int) -> tuple[list[float], Fitted | None]:
    seconds = []
    for _ in range(calls):
        began = time.perf_counter()
        outcome = ready.run()
        seconds.append(time.perf_counter() - began)
    return seconds, ready.read(outcome)

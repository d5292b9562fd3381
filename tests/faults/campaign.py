"""A campaign: undisturbed runs first, then faults at random moments, then the verdict."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults import verdict
from tests.faults.faults import FAULTS, Site
from tests.faults.jobs import ALL, Job
from tests.faults.parts import Part
from tests.faults.results import result_of
from tests.faults.running import Running
from tests.faults.traffic import Accepted, Client, Traffic
from tests.receiver import Receiver

_MEAN_PAUSE_SECONDS = 1.5
_ENDED_SECONDS = 300.0
# More jobs than the faults leave time for would only make the end longer.
_MOST_OPEN = 60


@dataclass
class Outcome:
    """What was done, and everything that did not hold."""

    injections: Counter[str] = field(default_factory=Counter)
    accepted: list[Accepted] = field(default_factory=list)
    n_lost_answers: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


def undisturbed(client: Client, jobs: tuple[Job, ...] = ALL) -> dict[str, dict[str, Any]]:
    """The right end of each job, by its name."""
    open_jobs = [(job, client.post(job, _key(job))) for job in jobs]
    found = {}
    for job, taken in open_jobs:
        if job.cancelled:
            client.cancel(taken)
        found[job.name] = result_of(client.url, client.end(taken, _ENDED_SECONDS))
    return found


def _key(job: Job) -> str:
    return f"undisturbed-{job.name.replace(' ', '-')}"


def run(
    service: Running,
    receiver: Receiver,
    *,
    seed: int,
    n_injections: int,
    small_disk: bool,
    parts: Mapping[str, Part],
    say: Callable[[str], None],
) -> Outcome:
    """Hurt the service so often while jobs flow, and look what became of them."""
    began = time.monotonic()
    client = Client(service.url, receiver.url)
    expected = undisturbed(client)
    say(f"{len(expected)} undisturbed runs took {time.monotonic() - began:.0f} s")
    outcome = Outcome()
    traffic = Traffic(client, seed)
    traffic.start()
    # Seeded, so that a campaign draws the same faults again; when they strike is up to the machine.
    site = Site(service, random.Random(seed), small_disk, parts)  # noqa: S311
    while outcome.injections.total() < n_injections:
        time.sleep(min(site.draws.expovariate(1 / _MEAN_PAUSE_SECONDS), 4 * _MEAN_PAUSE_SECONDS))
        _inject(site, outcome, say)
        _hold_back(client, traffic)
    site.mend_all()
    traffic.stop()
    outcome.accepted = traffic.accepted
    say(f"no more faults; {len(traffic.accepted)} jobs were taken")
    _judge(service, client, outcome, expected, receiver)
    outcome.n_lost_answers = client.n_lost_answers
    outcome.seconds = time.monotonic() - began
    return outcome


def _inject(site: Site, outcome: Outcome, say: Callable[[str], None]) -> None:
    names = [*FAULTS]
    [name] = site.draws.choices(names, [FAULTS[name][0] for name in names])
    if FAULTS[name][1](site):
        outcome.injections[name] += 1
        say(f"{outcome.injections.total():4d}  {name}")


def _hold_back(client: Client, traffic: Traffic) -> None:
    """Wait for the oldest where too many are open."""
    still_open = [one for one in traffic.accepted if not one.shown]
    with traffic.held():
        for one in still_open[: max(0, len(still_open) - _MOST_OPEN)]:
            one.shown = client.end(one, _ENDED_SECONDS)


def _judge(
    service: Running,
    client: Client,
    outcome: Outcome,
    expected: dict[str, dict[str, Any]],
    receiver: Receiver,
) -> None:
    wrong = outcome.wrong
    for one in outcome.accepted:
        one.shown = one.shown or client.end(one, _ENDED_SECONDS)
    wrong += verdict.differences(client.url, outcome.accepted, expected)
    wrong += verdict.events_out_of_order(client.url, outcome.accepted)
    wrong += verdict.undelivered(outcome.accepted, receiver)
    ends = {one.shown["id"]: client.show(one).get("finished_at") for one in outcome.accepted}
    wrong += verdict.ended_twice(outcome.accepted, ends)
    wrong += verdict.doubled(service.settings, [*ALL, *(one.job for one in outcome.accepted)])
    wrong += verdict.left_behind(service.settings)
    wrong += verdict.stopped(service)

"""What must hold once nothing is hurt any more: the list of what does not."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

import httpx
import orjson
from sqlalchemy import text

from service.context import Context, open_context
from service.settings import Settings
from tests.faults.jobs import Job
from tests.faults.results import TERMINAL, result_of
from tests.faults.running import Running
from tests.faults.traffic import Accepted
from tests.receiver import Receiver
from tests.service.stored import stored

# A try whose outcome nobody noted is made again when its lease of two minutes is over.
_DELIVERED_SECONDS = 150.0
_SWEPT_SECONDS = 60.0


def differences(
    url: str, accepted: Iterable[Accepted], expected: Mapping[str, dict[str, Any]]
) -> list[str]:
    """The jobs whose end is not the one of an undisturbed run, bit for bit."""
    found = []
    for one in accepted:
        shown, job = one.shown, one.job
        if shown["status"] not in TERMINAL:
            found.append(f"{shown['id']} ({job.name}) never ended: {shown['status']}")
        elif job.cancelled:
            if (shown["status"], shown["stop_reason"]) != ("cancelled", "cancelled"):
                found.append(f"{shown['id']} ({job.name}) ended as {shown['status']}")
        else:
            result = result_of(url, shown)
            wrong = [
                name for name in expected[job.name] if result[name] != expected[job.name][name]
            ]
            if wrong:
                told = f"{shown['status']}, {shown.get('error')}"
                found.append(f"{shown['id']} ({job.name}) differs in {wrong}: {told}")
    return found


def events_out_of_order(url: str, accepted: Iterable[Accepted]) -> list[str]:
    """The jobs whose events do not begin at the beginning, ascend, and end once and last."""
    found = []
    for one in accepted:
        got = httpx.get(
            f"{url}/{one.body['urls']['events'].split('/', 3)[3]}",
            headers={"Accept": "application/json"},
            timeout=60,
        )
        events = got.json()["data"]
        ids = [event["id"] for event in events]
        types = [event["type"] for event in events]
        # Of each that has run there are its first two, whatever was lost after them.
        first = [1, 2] if one.shown.get("started_at") else [1]
        ends = types[-1:] == ["end"] and types.count("end") == 1
        if ids != sorted(set(ids)) or ids[: len(first)] != first or not ends:
            found.append(f"{one.body['id']}: events {[*zip(ids, types, strict=True)][-3:]}")
    return found


def undelivered(accepted: Iterable[Accepted], receiver: Receiver) -> list[str]:
    """The messages that did not come, or came under more than one id."""
    owed = {one.body["id"] for one in accepted if one.job.webhook}

    def missing() -> set[str]:
        return owed - _told(receiver).keys()

    _eventually(lambda: not missing(), _DELIVERED_SECONDS)
    twice = [f"{key} was told under {ids}" for key, ids in _told(receiver).items() if len(ids) > 1]
    return [*(f"nobody was told of the end of {key}" for key in missing()), *twice]


def ended_twice(accepted: Iterable[Accepted], now: Mapping[str, str | None]) -> list[str]:
    """The jobs whose end has changed since it was first seen; `now` has the finishing times."""
    seen = ((one.shown["id"], one.shown.get("finished_at")) for one in accepted)
    return [f"{key} ended again at {now[key]}" for key, at in seen if at != now[key]]


def doubled(settings: Settings, jobs: Iterable[Job]) -> list[str]:
    """Whether there are more jobs, or less, than were asked for."""
    asked = Counter("batches" if "/batches" in job.path else "fits" for job in jobs)
    counts = {
        "fits": "SELECT count(*) FROM fits WHERE batch_id IS NULL",
        "batches": "SELECT count(*) FROM batches",
    }
    with closing(open_context(settings)) as context, context.database.read() as connection:
        found = {name: connection.execute(text(sql)).scalar_one() for name, sql in counts.items()}
    wrong = [name for name in counts if found[name] != asked[name]]
    return [f"{found[name]} {name} were made of {asked[name]} asked for" for name in wrong]


def left_behind(settings: Settings) -> list[str]:
    """Rows that point at nothing, objects that no row names, and temporary files."""
    with closing(open_context(settings)) as context:
        _eventually(lambda: not _orphans(context), _SWEPT_SECONDS)
        return _orphans(context)


def attempts(accepted: Iterable[Accepted]) -> Counter[int]:
    """How many jobs took how many attempts."""
    return Counter(one.shown["attempt"] for one in accepted if "attempt" in one.shown)


def stopped(service: Running) -> list[str]:
    """What is wrong with how the service ends."""
    code, left = service.stop()
    found = [f"the launcher ended with {code}"] if code != 0 else []
    found += [f"process {pid} is left: {command}" for pid, command in left.items()]
    if (scratch := service.data_dir / "tmp").exists():
        found += [f"{path} is left" for path in scratch.rglob("*")]
    return found


def _told(receiver: Receiver) -> dict[str, set[str]]:
    told: dict[str, set[str]] = {}
    for headers, body in [*receiver.got]:
        subject = orjson.loads(body)["data"]["id"]
        told.setdefault(subject, set()).add(headers["webhook-id"])
    return told


def _orphans(context: Context) -> list[str]:
    there = set(stored(context))
    with context.database.read() as connection:
        named = {
            str(key)
            for table in ("artifacts", "datasets")
            for key in connection.execute(
                text(f"SELECT storage_key FROM {table} WHERE storage_key IS NOT NULL")  # noqa: S608
            ).scalars()
        }
    lost = [f"a row names {key}, which is not there" for key in sorted(named - there)]
    return lost + [f"no row names {key}" for key in sorted(there - named)]


def _eventually(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.5)

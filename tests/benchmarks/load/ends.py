"""Whether each fit that a service has taken has ended, and has done so once."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks.load.client import Ledger

PATIENCE_SECONDS = 120.0
_ENDED = ("succeeded", "failed", "cancelled")
_LISTS = ("fits", "lr-range-tests")
_PAGE = 200


def n_counted(api: httpx.Client) -> int:
    """How many ends the service's own counters have seen."""
    text = api.get("/metrics").raise_for_status().text
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "thalweg_fits_total"
    )


def faults_of_ends(
    api: httpx.Client, ledger: Ledger, patience_seconds: float = PATIENCE_SECONDS
) -> list[str]:
    """What of this does not hold, once nothing waits any more.

    Every fit that was taken is there or was deleted, and has ended with its first attempt; as many
    ends were counted; a batch's counts are of as many fits as it has.
    """
    _wait_until_idle(api, patience_seconds)
    jobs = {job["id"]: job for name in _LISTS for job in listed(api, name)}
    faults = [
        f"{job['id']} is {job['status']} at attempt {job['attempt']}, ended {job['finished_at']}"
        for job in jobs.values()
        if job["status"] not in _ENDED or job["finished_at"] is None or job["attempt"] != 1
    ]
    faults += [f"{lost} was taken and is lost" for lost in sorted(ledger.lost(jobs))]
    for batch in listed(api, "batches"):
        n_ended = sum(batch["counts"][status] for status in _ENDED)
        if batch["finished_at"] is None or n_ended != batch["n_fits"]:
            faults.append(f"{batch['id']} is {batch['status']} with {batch['counts']}")
    counted, there = n_counted(api), len(jobs) + ledger.n_deleted
    if counted != there:
        faults.append(f"{counted} ends were counted of {there} fits and range tests")
    return faults


def _wait_until_idle(api: httpx.Client, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        if not any(
            api.get(f"/v1/{name}", params={"status": status, "limit": 1}).json()["data"]
            for name in _LISTS
            for status in ("queued", "running", "cancelling")
        ):
            return
        time.sleep(0.2)


def listed(api: httpx.Client, name: str) -> Iterator[dict[str, Any]]:
    """All of a list, page after page."""
    page_of: dict[str, str | int] = {"limit": _PAGE}
    while True:
        page = api.get(f"/v1/{name}", params=page_of).raise_for_status().json()
        yield from page["data"]
        if not page["has_more"]:
            return
        page_of["after"] = page["next_cursor"]

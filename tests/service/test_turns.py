"""Owners take turns: nobody's flood starves another's fits."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from service import datasets, lifecycle, submission
from service.context import Context
from service.errors import QuotaExceeded
from service.keys import create_key
from service.lifecycle import Claim, claim_waiting
from service.limits import Limits
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from tests.service.claiming import finish_one

TABLE = DatasetRequest(columns={"x": [1, 2, 3], "y": [1, 2, 4]})
SMALL = "fits.small"
LONG = "fits.cpu"


def queue(context: Context, owner: str, n: int, **changes: Any) -> list[str]:
    dataset = datasets.create_inline_dataset(context, TABLE, owner)["id"]
    body = {"dataset": dataset, "target": "y", "steps": 3} | changes
    request = FitRequest.model_validate(body)
    return [submission.submit(context, request, owner=owner)["id"] for _ in range(n)]


def claimed(context: Context) -> list[Claim]:
    return claim_waiting(context, SMALL, "worker")


def ids(claims: list[Claim]) -> list[str]:
    return [claim.fit_id for claim in claims]


def end(context: Context, claims: list[Claim]) -> None:
    for claim in claims:
        assert finish_one(
            context, claim, status="succeeded", stop_reason="completed", result={"final_loss": 1.0}
        )


def test_a_flood_starves_nobody(context: Context) -> None:
    # given an owner with more than two claims' worth, and another with one fit after them
    flood = queue(context, "ada", 600)
    assert set(ids(claimed(context))) <= set(flood)

    single = queue(context, "bob", 1)

    # then it is in one of the next two claims
    next_two = ids(claimed(context)) + ids(claimed(context))
    assert single[0] in next_two
    assert set(next_two) & set(flood)


def test_those_who_wait_take_turns(context: Context) -> None:
    fits = {owner: queue(context, owner, 3, priority="high") for owner in ("ada", "bob", "eve")}
    late = queue(context, "ada", 300)

    # when each claim takes what its owner has, then everybody's turn comes before a second one
    whose = {fit_id: owner for owner, those in fits.items() for fit_id in those}
    whose |= dict.fromkeys(late, "ada")
    owners = []
    while claims := claimed(context):
        (owner,) = {whose[claim.fit_id] for claim in claims}
        owners.append(owner)
    assert sorted(owners[:3]) == ["ada", "bob", "eve"]
    assert owners[3:] == ["ada"] * len(owners[3:])


def test_within_an_owner_the_order_is_priority_then_age(context: Context) -> None:
    low = queue(context, "ada", 2, priority="low")
    normal = queue(context, "ada", 2)
    high = queue(context, "ada", 2, priority="high")

    assert ids(claimed(context)) == [*high, *normal, *low]


def test_an_owner_has_only_so_many_running(context: Context) -> None:
    # given an owner with a key of that limit
    create_key(context.database, "ada", ["write"], Limits(max_owner_running_fits=2))
    create_key(context.database, "bob", ["write"], Limits())
    mine = queue(context, "ada", 5)
    theirs = queue(context, "bob", 3)

    first = [claimed(context), claimed(context)]
    taken = {claim.fit_id for claims in first for claim in claims}

    # then two of theirs run, all of the other's, and nothing more is claimed
    assert taken & {*mine} == {*mine[:2]}
    assert taken & {*theirs} == {*theirs}
    assert claimed(context) == []

    # when one of the two ends, a worker is sent for, and one more runs
    running = [claim for claims in first for claim in claims if claim.fit_id in mine]
    context.events.client.flushall()
    end(context, running[:1])
    assert context.queue.undelivered(SMALL)
    assert ids(claimed(context)) == [mine[2]]
    assert claimed(context) == []


def test_the_settings_bound_holds_for_everybody(context: Context) -> None:
    bounded = replace(
        context, settings=context.settings.model_copy(update={"max_owner_running_fits": 1})
    )
    mine = queue(context, "open", 3)

    first = claim_waiting(bounded, SMALL, "worker")
    assert ids(first) == mine[:1]
    assert claim_waiting(bounded, SMALL, "worker") == []
    end(bounded, first)
    assert ids(claim_waiting(bounded, SMALL, "worker")) == mine[1:2]


def test_what_a_lost_worker_held_comes_again(context: Context) -> None:
    create_key(context.database, "ada", ["write"], Limits(max_owner_running_fits=1))
    (mine,) = queue(context, "ada", 1)
    (claim,) = claimed(context)

    assert lifecycle.requeue(context, claim)

    assert ids(claimed(context)) == [mine]


def at_once(act: Callable[[Any], Any], each: list[Any]) -> list[Any]:
    """What threads get that begin together, one for each."""
    start = threading.Barrier(len(each))

    def do(one: Any) -> Any:
        start.wait()
        return act(one)

    with ThreadPoolExecutor(len(each)) as pool:
        return [*pool.map(do, each)]


def test_workers_that_claim_at_one_moment_keep_the_bound(context: Context) -> None:
    # given fits of one owner in two queues
    create_key(context.database, "ada", ["write"], Limits(max_owner_running_fits=2))
    queue(context, "ada", 6)
    queue(context, "ada", 6, strategy="reference", steps=100_000)

    taken = at_once(lambda name: claim_waiting(context, name, "worker"), [SMALL, LONG] * 4)

    assert sum(map(len, taken)) == 2


def test_requests_of_one_moment_keep_the_bound(context: Context) -> None:
    # given requests that need nothing in common
    settings = context.settings.model_copy(update={"max_owner_queued_fits": 3})
    bounded = replace(context, settings=settings)
    tables = [datasets.create_inline_dataset(context, TABLE, "ada")["id"] for _ in range(8)]

    def submit(dataset: str) -> bool:
        body = {"dataset": dataset, "target": "y", "steps": 3}
        try:
            submission.submit(bounded, FitRequest.model_validate(body), owner="ada")
        except QuotaExceeded:
            return False
        return True

    assert sum(at_once(submit, tables)) == 3

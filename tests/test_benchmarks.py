"""The benchmarks time fits that the engine takes, beside peers that compute the same."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.benchmarks.agreement import difference
from tests.benchmarks.engine import Measured, measure
from tests.benchmarks.lineup import LOADER, OURS, USUAL, WORKLOADS, Peer, Workload
from tests.benchmarks.peers import ours, torch_loops
from tests.benchmarks.peers.figures import figures
from tests.benchmarks.scaling import SERIES, Series
from tests.benchmarks.tables import engine_table
from tests.benchmarks.turns import Entrant
from tests.benchmarks.workloads import Job, Work
from workers.engine import Shape, check

TINY = {
    "notebook": {"steps": 30},
    "full_batch": {"n_rows": 200, "n_features": 5, "steps": 20},
    "adaptive": {"n_rows": 200, "n_features": 5, "steps": 20},
    "mini_batch": {"n_rows": 75, "n_features": 3, "batch_size": 32, "epochs": 2},
    "planes": {"n_fits": 3, "n_rows": 20, "n_features": 1, "steps": 10},
    "digits": {"epochs": 1},
    "images": {"n_rows": 300, "epochs": 1},
    "surface": {"n_rows": 600, "epochs": 1},
    "curves": {"n_fits": 2, "n_rows": 20, "n_hidden": 4, "steps": 10},
}


def tiny(workload: Workload) -> Workload:
    """The workload with less to do."""
    kind = workload.work.kind
    return replace(workload, work=Work(kind, TINY[kind]))


def found(peer: Peer, jobs: list[Job]) -> dict[str, Any]:
    """What the peer's process would hand over, computed in this one."""
    prepare: Any = ours.prepare if peer.is_ours else torch_loops.prepare
    ready = prepare(jobs, *peer.arguments)
    return figures(jobs, ready.read(ready.run()))


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_torch_s_loops_compute_what_the_engine_does(workload: Workload) -> None:
    # given every peer of the workload that runs in this environment
    jobs = tiny(workload).work.jobs()
    peers = [peer for peer in workload.peers if peer.is_ours or peer.module == "torch_loops"]

    # when each does a small part of the work
    engine, *others = (found(peer, jobs) for peer in peers)

    # then all of them are as near as the benchmark demands
    assert peers[0] == OURS
    assert others
    for theirs in others:
        apart = difference(engine, theirs, "steps")
        assert max(apart.values()) <= workload.tolerance


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.grows)
def test_the_engine_takes_what_its_scaling_is_measured_at(series: Series) -> None:
    # given the first of the sizes
    value, work = next(series.works())

    # then the engine fits each of the jobs, and their number or size is that value
    for job in work.jobs():
        shape = Shape(len(job.x), job.x.shape[1], job.y.shape[1])
        check(ours.specification(job, "auto"), shape)
    assert work.size[series.grows] == value


def test_other_work_is_told_apart() -> None:
    # given the figures of a fit, and those of one that made a step less
    (job,) = Work("notebook", {"steps": 30}).jobs()
    shorter = replace(job, spec=job.spec | {"steps": 29})
    engine, theirs = found(OURS, [job]), found(USUAL, [shorter])
    theirs["losses"] = engine["losses"]

    # then neither its weights nor its last loss pass for the fit's
    apart = difference(engine, theirs, "steps")
    assert min(apart.values()) > 1e-4


def test_processes_take_turns_and_the_report_has_their_figures() -> None:
    # given mini-batches, the peers in this environment
    (workload,) = (tiny(of) for of in WORKLOADS if of.name == "mini_batch")
    peers = (OURS, replace(LOADER, is_ours=True))
    workload = replace(workload, peers=peers, bars={LOADER.name: 1e-9})

    # when they are timed
    report = json.loads(json.dumps(measure(workload).as_json()))

    # then each has its times, and the bar is held against their ratio
    assert report["name"] == "mini_batch"
    engine, loader = report["peers"]
    for peer in (engine, loader):
        assert 0 < peer["min_seconds"] <= peer["median_seconds"]
        assert peer["rounds"] >= 3
    assert (engine["name"], loader["name"]) == ("ours", LOADER.name)
    assert len(engine["strategies"]) == 1
    assert loader["difference"]["weights"] <= 1e-9
    (bar,) = report["bars"]
    ratio = loader["median_seconds"] / engine["median_seconds"]
    fastest = loader["min_seconds"] / engine["min_seconds"]
    assert bar == {
        "peer": LOADER.name,
        "at_least": 1e-9,
        "ratio": ratio,
        "ratio_of_fastest": fastest,
        "reached": True,
    }


def test_a_peer_that_does_other_work_ends_the_benchmark() -> None:
    # given a tolerance that nothing keeps to
    (workload,) = (tiny(of) for of in WORKLOADS if of.name == "notebook")
    peers = (OURS, replace(USUAL, is_ours=True))

    # then the peer is named
    with pytest.raises(RuntimeError, match=r"notebook: usual torch loop is .* from ours"):
        measure(replace(workload, peers=peers, tolerance=-1.0))


@pytest.mark.parametrize(("seconds", "reached"), [(8.0, "yes"), (7.9, "no")])
def test_a_bar_is_reached_or_not(seconds: float, reached: str) -> None:
    # given a workload whose bar is eight times
    workload = replace(WORKLOADS[0], bars={"slow": 8})
    entrants = [
        Entrant("ours", [1.0, 1.0, 0.5], 1, ["kernels"]),
        Entrant("slow", [seconds, 2.0, 20.0], 1),
    ]

    # when the table is drawn
    table = engine_table([Measured(workload, entrants, {})])

    # then it says whether that was reached
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["peer"] == ["ours (kernels)", "slow"]
    assert columns["ratio"] == ["", f"{seconds:.3g}"]
    assert columns["of mins"] == ["", "4"]
    assert columns["bar"] == ["", "≥ 8"]
    assert columns["reached?"] == ["", reached]

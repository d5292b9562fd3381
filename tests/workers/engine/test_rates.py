"""The rates of a whole fit, ahead of it, are those that torch's schedules set on the way."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.workers.engine.given import sgd, specification
from tests.workers.engine.test_rules import DEFAULTS
from workers.engine import Specification, SpecificationError
from workers.engine.batches import Batches, cut_batches
from workers.engine.rates import PATHS, Rates, rates
from workers.engine.rule import Rule
from workers.engine.schedules import SCHEDULES
from workers.engine.snapshot import Snapshot
from workers.engine.trace import Trace

COUNTS = st.integers(1, 60)
RATE = st.floats(1e-4, 0.5)
SHARE = st.floats(0.01, 1.0)
N_ROWS = 50

ARGUMENTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "step": {"step_size": COUNTS, "gamma": SHARE},
    "multistep": {"milestones": st.lists(COUNTS, min_size=1, max_size=6), "gamma": SHARE},
    "exponential": {"gamma": st.floats(0.9, 1.01)},
    "cosine": {"T_max": COUNTS, "eta_min": st.sampled_from([0.0, 1e-5, 0.01])},
    "cosine_warm_restarts": {
        "T_0": COUNTS, "T_mult": st.integers(1, 3), "eta_min": st.sampled_from([0.0, 0.01])},
    "one_cycle": {
        "max_lr": RATE, "total_steps": st.none() | st.integers(300, 400),
        "pct_start": st.floats(0.1, 0.45), "anneal_strategy": st.sampled_from(["cos", "linear"]),
        "cycle_momentum": st.booleans(), "base_momentum": st.floats(0.1, 0.8),
        "max_momentum": st.floats(0.8, 0.99), "div_factor": st.floats(1, 30),
        "final_div_factor": st.floats(1, 1e5), "three_phase": st.booleans()},
    "linear": {"start_factor": SHARE, "end_factor": st.floats(0.0, 1.0), "total_iters": COUNTS},
    "polynomial": {"total_iters": COUNTS, "power": st.floats(0.0, 4.0)},
    "constant": {"factor": SHARE, "total_iters": COUNTS},
    "cyclic": {
        "base_lr": RATE, "max_lr": RATE, "step_size_up": COUNTS,
        "step_size_down": st.none() | COUNTS,
        "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]), "gamma": SHARE,
        "cycle_momentum": st.booleans(), "base_momentum": st.floats(0.1, 0.8),
        "max_momentum": st.floats(0.8, 0.99)},
}  # fmt: skip


@st.composite
def scheduled(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(sorted(ARGUMENTS)))
    arguments = {name: draw(value) for name, value in ARGUMENTS[kind].items()}
    optimizer = sgd(lr=draw(RATE), momentum=draw(st.sampled_from([0.0, 0.9])))
    if draw(st.booleans()):
        optimizer = {"kind": "adam"} | DEFAULTS["adam"][1]
    return {
        "scheduler": {"kind": kind, "interval": draw(st.sampled_from(["step", "epoch"]))}
        | arguments,
        "optimizer": optimizer,
        "batch_size": draw(st.sampled_from([None, 10, 33])),
    }


class Walked:
    """torch's own schedule, moved as the plain loop moves it."""

    def __init__(self, spec: Specification, snapshot: Snapshot | None = None) -> None:
        self.batches = cut_batches(spec, N_ROWS, snapshot)
        parameter = nn.Parameter(torch.zeros(1))
        parameter.grad = torch.zeros(1)
        self._rule = Rule(spec, [parameter], Trace(self.batches, 1, 0.0), snapshot)
        self.lr, self.momentum = [], []
        for step in range(self.batches.total_steps):
            group = self._rule._optimizer.param_groups[0]
            self.lr.append(float(group["lr"]))
            self.momentum.append(group["betas"][0] if "betas" in group else group["momentum"])
            self._rule.update(0.0, float)
            self._rule.move("step", 0.0)
            if self.batches.ends_epoch(step + 1):
                self._rule.move("epoch", 0.0)
        self.state = self._rule.schedule_state()


def at(spec: Specification, batches: Batches, ours: Rates, n_steps: int) -> Snapshot:
    """What a fit with these rates leaves to the next one."""
    return Snapshot(
        position=batches.position + n_steps,
        per_epoch=batches.per_epoch,
        epoch_sum=0.0,
        made_by=spec.optimizer.made_by,
        weights={},
        optimizer=[],
        schedule=ours.state(n_steps),
    )


def known(spec: Specification, batches: Batches, snapshot: Snapshot | None = None) -> Rates:
    found = rates(spec, batches, snapshot)
    assert found is not None
    return found


@given(scheduled(), st.integers(1, 300))
def test_they_are_torchs(changes: dict[str, Any], steps: int) -> None:
    spec = specification(steps=steps, **changes)
    theirs = Walked(spec)

    ours = known(spec, theirs.batches)

    np.testing.assert_allclose(ours.lr, theirs.lr, rtol=1e-12)
    np.testing.assert_allclose(ours.momentum, theirs.momentum, rtol=1e-12)


@given(scheduled(), st.integers(1, 150), st.integers(1, 150))
def test_they_go_on_from_where_they_were(changes: dict[str, Any], first: int, second: int) -> None:
    if changes["scheduler"]["kind"] == "one_cycle":
        changes["scheduler"]["total_steps"] = 300
    whole = specification(steps=first + second, **changes)
    rest = specification(steps=second, **changes)
    batches = cut_batches(whole, N_ROWS)
    ours = known(whole, batches)

    # when they are cut in two
    snapshot = at(whole, batches, ours, first)
    later = known(rest, cut_batches(rest, N_ROWS, snapshot), snapshot)

    # then not a bit differs, and torch goes on from there too
    assert later.lr.tobytes() == ours.lr[first:].tobytes()
    assert later.momentum.tobytes() == ours.momentum[first:].tobytes()
    theirs = Walked(rest, snapshot)
    np.testing.assert_allclose(later.lr, theirs.lr, rtol=1e-12)
    np.testing.assert_allclose(later.momentum, theirs.momentum, rtol=1e-12)
    written, read = ours.state(first + second), theirs.state
    assert written is not None
    assert read is not None
    assert written.made_of == read.made_of
    assert written.state.keys() == read.state.keys()
    for name, value in read.state.items():
        assert written.state[name] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("eta_min", [0.0, 1e-3])
def test_long_waves_round_as_torchs_do(eta_min: float) -> None:
    # given waves after whose first half torch's recurrence is a billionth off the closed form
    scheduler = {"kind": "cosine", "interval": "step", "T_max": 7_000, "eta_min": eta_min}
    spec = specification(scheduler=scheduler, steps=20_000)
    theirs = Walked(spec)

    np.testing.assert_allclose(known(spec, theirs.batches).lr, theirs.lr, rtol=1e-12)


def test_a_cycle_that_is_over_is_refused() -> None:
    scheduler = {
        "kind": "one_cycle", "interval": "step", "max_lr": 0.1, "total_steps": 30,
        "pct_start": 0.3, "anneal_strategy": "cos", "cycle_momentum": False,
        "base_momentum": 0.8, "max_momentum": 0.9, "div_factor": 25.0, "final_div_factor": 1e4,
        "three_phase": False,
    }  # fmt: skip
    spec = specification(scheduler=scheduler, steps=20)
    batches = cut_batches(spec, N_ROWS)
    snapshot = at(spec, batches, known(spec, batches), 20)

    with pytest.raises(SpecificationError, match="has made 20, and 20 more"):
        rates(spec, cut_batches(spec, N_ROWS, snapshot), snapshot)


def test_without_a_schedule_they_are_the_optimizers() -> None:
    spec = specification(optimizer=sgd(lr=0.25, momentum=0.5), steps=7)

    ours = known(spec, cut_batches(spec, N_ROWS))

    assert ours.lr.tolist() == [0.25] * 7
    assert ours.momentum.tolist() == [0.5] * 7
    assert ours.state(7) is None


def test_those_that_look_at_the_loss_are_not_known_ahead() -> None:
    assert set(SCHEDULES) == {*PATHS, "reduce_on_plateau"}
    scheduler = {"kind": "reduce_on_plateau", "interval": "step"}
    spec = specification(scheduler=scheduler)
    assert rates(spec, cut_batches(spec, N_ROWS)) is None

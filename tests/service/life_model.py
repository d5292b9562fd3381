"""The life of fits beside a model of it: steps in any order, deaths, tellings that are lost."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import select

from service import batch_submission, batches, fits, lifecycle, submission
from service.api.validation import parse_object
from service.context import Context
from service.database import schema as tables
from service.errors import Conflict
from service.lifecycle import Claim, End, Outcome
from service.queue import BROKER_ERRORS, FITS_CPU, FITS_SMALL
from service.schemas.batches import BatchRequest
from service.schemas.fits import FitRequest
from service.sweeps import bodies_of
from tests.service.claiming import FIT_QUEUES
from tests.service.conftest import OWNER
from tests.service.life_expected import ENDED, LEASE_SECONDS, Expected
from tests.service.life_parts import FATES, Away, Died, Fate, Fit, MortalDatabase

WORKERS = ("one", "two")
HOOK = {"webhook": {"url": "https://example.org/fits"}}
# In which modules the clock is turned.
CLOCKED = (lifecycle, submission, batch_submission, batches, fits)
# Some turns of six seconds: longer than leases are believed after a clock was set back.
TURNS = 40
# New ones are taken in while fewer are there: the steps are to meet.
MOST_UNENDED = 5

T = TypeVar("T")

# Of what there is, the one at this place, counted around.
PLACES = st.integers(0, 11)
OUTCOMES: Final[tuple[Outcome, ...]] = ("succeeded", "failed", "cancelled")


class Life(RuleBasedStateMachine):
    """Steps of clients, workers and sweepers on one database, each as if alone at its moment."""

    def __init__(self, context: Context, clock: SimpleNamespace, dataset_id: str) -> None:
        super().__init__()
        self.clock = clock
        self.dataset_id = dataset_id
        self.database = context.database
        self.here = context
        self.cut_off = Context(
            context.settings, context.database, context.storage, Away(), Away()  # type: ignore[arg-type]
        )  # fmt: skip
        self.model = Expected(clock)
        # Every claim that a worker was given, long lost ones too.
        self.claims: list[Claim] = []
        self.n_results = 0
        context.events.client.flushall()
        with self.database.write() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                if table is not tables.datasets:
                    connection.execute(table.delete())

    def take(
        self, fate: Fate, step: Callable[[Context], Any], check: Callable[[Any], None]
    ) -> bool:
        """Take the step and check what it says; whether it was committed."""
        assert isinstance(self.database, MortalDatabase)
        self.database.dies = fate.dies
        try:
            said = step(self.here if fate.broker_answers else self.cut_off)
        except Died:
            return fate.dies == "after the commit"
        finally:
            self.database.dies, self.database.spared = None, 0
        check(said)
        return True

    # What clients do.

    @initialize(n_short=st.integers(1, 3), long=st.booleans())
    def begin(self, n_short: int, long: bool) -> None:
        for is_long in [False] * n_short + [True] * long:
            self.submit(Fate(), is_long, hooked=True)

    @rule(fate=FATES, long=st.booleans(), hooked=st.booleans())
    @precondition(lambda self: self.model.n_unended < MOST_UNENDED)
    def submit(self, fate: Fate, long: bool, hooked: bool) -> None:
        request = FitRequest.model_validate(self._body(long=long, hooked=hooked))
        self.take(fate, partial(submission.submit, request=request, owner=OWNER), _is_queued)
        self._find_new(long=long, hooked=hooked)

    @rule(fate=FATES, n=st.integers(1, 3), hooked=st.booleans())
    @precondition(lambda self: self.model.n_unended < MOST_UNENDED)
    def submit_batch(self, fate: Fate, n: int, hooked: bool) -> None:
        bodies = [self._body(long=False, hooked=hooked)] * n
        step = partial(
            batch_submission.submit_batch,
            bodies=bodies_of(BatchRequest.model_validate({"fits": bodies})),
            about=batch_submission.About(),
            owner=OWNER,
            parse=partial(parse_object, FitRequest),
        )
        done = self.take(fate, step, _is_queued)
        members = self._find_new(long=False, hooked=hooked)
        assert len(members) == n * done
        for fit in members:
            assert fit.batch_id is not None
            self.model.batches.setdefault(fit.batch_id, []).append(fit)

    @rule(fate=FATES, place=PLACES)
    @precondition(lambda self: self.claims)
    def cancel(self, fate: Fate, place: int) -> None:
        fit = _at(place, [*self.model.fits.values()])
        step = partial(lifecycle.cancel, fit_id=fit.id, owner=OWNER)
        if fit.status in ENDED:
            self._refused(fate, step)
        elif self.take(fate, step, _is_cancelled):
            self.model.cancelled(fit)

    @rule(fate=FATES, place=PLACES)
    @precondition(lambda self: self.claims and self.model.batches)
    def cancel_batch(self, fate: Fate, place: int) -> None:
        batch_id, members = _at(place, [*self.model.batches.items()])
        step = partial(batches.cancel_batch, batch_id=batch_id, owner=OWNER)
        if all(fit.status in ENDED for fit in members):
            self._refused(fate, step)
        elif self.take(fate, step, lambda _: None):
            for fit in members:
                self.model.cancelled(fit)

    # What workers do.

    @rule(fate=FATES, place=PLACES, worker=st.sampled_from(WORKERS), is_sent_for=st.booleans())
    @precondition(lambda self: self.model.waiting)
    def claim(self, fate: Fate, place: int, worker: str, is_sent_for: bool) -> None:
        queue = _at(place, self.model.waiting).queue
        if is_sent_for:
            self.here.events.client.lpop(queue)
            self.here.queue.heard(queue)
        chosen = self.model.next_of(queue)

        def check(claims: list[Claim]) -> None:
            assert [claim.fit_id for claim in claims] == [fit.id for fit in chosen]
            self.claims += claims

        step = partial(lifecycle.claim_waiting, queue=queue, worker=worker)
        if self.take(fate, step, check):
            self.model.claimed(chosen, worker)

    @rule(fate=FATES, places=st.lists(PLACES, min_size=1, max_size=3))
    @precondition(lambda self: self.claims)
    def renew(self, fate: Fate, places: Sequence[int]) -> None:
        claims = [_at(place, self.claims) for place in places]
        good = {claim.fit_id: claim.fence for claim in claims if self.model.holds(claim)}
        expected = [
            self.model.fits[claim.fit_id].status if self.model.holds(claim) else None
            for claim in claims
        ]

        def check(said: list[str | None]) -> None:
            assert said == expected

        renewed = [(claim, {"step": 1}) for claim in claims]
        if self.take(fate, partial(lifecycle.renew_all, held=renewed), check):
            for fit_id in good:
                self.model.fits[fit_id].lease = self.clock.now + LEASE_SECONDS

    @rule(
        fate=FATES,
        places=st.lists(PLACES, min_size=1, max_size=3),
        outcome=st.sampled_from(OUTCOMES),
    )
    @precondition(lambda self: self.claims)
    def finish(self, fate: Fate, places: Sequence[int], outcome: Outcome) -> None:
        ends = [self._end(_at(place, self.claims), outcome) for place in places]
        good: dict[str, End] = {}
        expected = []
        for end in ends:
            fit_id = end.claim.fit_id
            expected.append(self.model.holds(end.claim) and fit_id not in good)
            if expected[-1]:
                good[fit_id] = end

        def check(said: list[bool]) -> None:
            assert said == expected

        if self.take(fate, partial(lifecycle.finish, ends=ends), check):
            for fit_id, end in good.items():
                self.model.ended(self.model.fits[fit_id], end)

    @rule(fate=FATES, place=PLACES)
    @precondition(lambda self: self.claims)
    def give_back(self, fate: Fate, place: int) -> None:
        claim = _at(place, self.claims)
        fit = self.model.fits[claim.fit_id]
        good = self.model.holds(claim) and fit.status == "running"

        def check(said: bool) -> None:
            assert said is good

        if self.take(fate, partial(lifecycle.requeue, claim=claim), check) and good:
            fit.release("queued")

    @rule(place=PLACES, worker=st.sampled_from(WORKERS))
    @precondition(lambda self: self.claims)
    def freeze_while_another_claims(self, place: int, worker: str) -> None:
        """Whoever had it believes to hold it still."""
        self.turn_the_clock(LEASE_SECONDS + 1)
        self.sweep(Fate())
        if self.model.waiting:
            self.claim(Fate(), place, worker, is_sent_for=True)

    # What sweepers, clocks and brokers do.

    @rule(fate=FATES, worker=st.sampled_from(WORKERS), out_of_memory=st.booleans())
    @precondition(lambda self: any(fit.held for fit in self.model.fits.values()))
    def note_lost(self, fate: Fate, worker: str, out_of_memory: bool) -> None:
        step = partial(lifecycle.note_lost, workers=[worker], out_of_memory=out_of_memory)
        if self.take(fate, step, lambda _: None):
            for fit in self.model.fits.values():
                if fit.held and fit.worker == worker and fit.lease:
                    fit.lease, fit.error = 0.0, "out_of_memory" if out_of_memory else None

    @rule(fate=FATES)
    def sweep(self, fate: Fate) -> None:
        if self.take(fate, self._sweep, lambda _: None):
            self.model.swept()

    @rule(fate=FATES, spared=st.integers(1, 4))
    def sweep_in_two(self, fate: Fate, spared: int) -> None:
        """One that dies between its writes, and the next one."""
        assert isinstance(self.database, MortalDatabase)
        self.database.spared = spared
        self.take(fate, self._sweep, lambda _: None)
        self.sweep(Fate())

    @rule(seconds=st.sampled_from([1.0, 6.0, LEASE_SECONDS + 1, 1000.0, -5.0, -90.0]))
    def turn_the_clock(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def lose_every_message(self) -> None:
        self.here.events.client.flushall()

    # What is always true.

    @invariant()
    def the_rows_are_the_models(self) -> None:
        row = tables.fits.c
        with self.database.read() as connection:
            found = connection.execute(
                select(
                    row.id, row.status, row.attempt, row.fence, row.lease_expires_at, row.grouped,
                    row.alone, row.result, row.error, row.finished_at,
                )
            ).all()  # fmt: skip
        assert {one.id: tuple(one[1:8]) for one in found} == {
            fit.id: (
                fit.status, fit.attempt, fit.fence, fit.lease, fit.grouped, fit.alone, fit.result
            )
            for fit in self.model.fits.values()
        }  # fmt: skip
        for one in found:
            assert (one.error or {}).get("code") == self.model.fits[one.id].error
            assert (one.finished_at is not None) == (one.status in ENDED)

    @invariant()
    def batches_end_with_their_last_fit(self) -> None:
        with self.database.read() as connection:
            rows = connection.execute(select(tables.batches)).all()
        assert {row.id for row in rows} == self.model.batches.keys()
        for row in rows:
            statuses = [fit.status for fit in self.model.batches[row.id]]
            assert (row.finished_at is not None) == all(one in ENDED for one in statuses)
            if row.counts:
                assert row.counts == {name: statuses.count(name) for name in row.counts}

    @invariant()
    def messages_are_owed_once(self) -> None:
        with self.database.read() as connection:
            subjects = connection.execute(select(tables.deliveries.c.subject)).scalars().all()
        ended = [fit.id for fit in self.model.fits.values() if fit.hooked and fit.status in ENDED]
        assert sorted(subjects) == sorted(ended)

    def teardown(self) -> None:
        """Whatever has been, a worker that comes when it is sent for sees every fit to its end."""
        for _ in range(TURNS):
            if all(fit.status in ENDED for fit in self.model.fits.values()):
                break
            self.clock.now += 6
            lifecycle.sweep(self.here, self.clock.now)
            self.model.swept()
            for queue in FIT_QUEUES:
                self._work(queue)
        assert [fit for fit in self.model.fits.values() if fit.status not in ENDED] == []
        self.the_rows_are_the_models()
        self.batches_end_with_their_last_fit()
        self.messages_are_owed_once()

    def _work(self, queue: str) -> None:
        while self.here.events.client.lpop(queue) is not None:
            self.here.queue.heard(queue)
            chosen = self.model.next_of(queue)
            claims = lifecycle.claim_waiting(self.here, queue, "last")
            assert [claim.fit_id for claim in claims] == [fit.id for fit in chosen]
            self.model.claimed(chosen, "last")
            ends = [self._end(claim, "succeeded") for claim in claims]
            assert all(lifecycle.finish(self.here, ends))
            for fit, end in zip(chosen, ends, strict=True):
                self.model.ended(fit, end)

    # What the steps are made of.

    def _body(self, *, long: bool, hooked: bool) -> dict[str, Any]:
        how = {"steps": 1_000_000, "strategy": "reference"} if long else {"steps": 3}
        return {"dataset": self.dataset_id, "target": "y"} | how | (HOOK if hooked else {})

    def _find_new(self, *, long: bool, hooked: bool) -> list[Fit]:
        """Take what is new in the database into the model: whoever posted it may have died."""
        row = tables.fits.c
        with self.database.read() as connection:
            rows = connection.execute(select(row.id, row.batch_id).order_by(row.id)).all()
        queue = FITS_CPU if long else FITS_SMALL
        new = [
            Fit(fit_id, queue, self.clock.now, hooked, batch_id)
            for fit_id, batch_id in rows
            if fit_id not in self.model.fits
        ]
        self.model.fits.update({fit.id: fit for fit in new})
        return new

    def _end(self, claim: Claim, status: Outcome) -> End:
        self.n_results += 1
        return End(
            claim,
            status,
            "error" if status == "failed" else "completed",
            {"final_loss": float(self.n_results)},
            {"code": "numerical"} if status == "failed" else None,
        )

    def _refused(self, fate: Fate, step: Callable[[Context], Any]) -> None:
        try:
            self.take(fate, step, _never)
        except Conflict:
            return
        assert fate.dies is not None

    def _sweep(self, context: Context) -> None:
        # The keeper tries again.
        with suppress(*BROKER_ERRORS):
            lifecycle.sweep(context, self.clock.now)


def _is_queued(said: Mapping[str, Any]) -> None:
    assert said["status"] == "queued"


def _is_cancelled(said: Mapping[str, Any]) -> None:
    assert said["status"] in ("cancelled", "cancelling")


def _at(place: int, things: Sequence[T]) -> T:
    return things[place % len(things)]


def _never(said: object) -> None:
    raise AssertionError(f"it was not refused: {said!r}")

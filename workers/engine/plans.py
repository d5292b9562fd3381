"""The strategies that need no more of the rows than one pass tells."""

from collections.abc import Generator
from functools import partial

from workers.engine import normal, spectral
from workers.engine.asides import aside_if
from workers.engine.batches import Batches
from workers.engine.descent import Descent
from workers.engine.normal_beginning import begin
from workers.engine.plateau import PlateauRates
from workers.engine.prepared import Plan
from workers.engine.rates import Rates
from workers.engine.rehearsal import keeps_its_digits
from workers.engine.results import Fallback
from workers.engine.snapshot import Start
from workers.engine.specification import Specification
from workers.engine.spectrum import is_wide
from workers.engine.splitting import Split
from workers.engine.survey import Found
from workers.engine.trace import Trace

Beginning = Generator[None, None, Descent | Fallback]


def plan_spectral(spec: Specification, split: Split, batches: Batches, start: Start) -> Plan:
    """A descent in closed form."""
    rates, rows = Rates(spec, batches, start.snapshot), split.train

    def begin_descent(trace: Trace, found: Found) -> Beginning:
        yield from ()
        make = partial(spectral.SpectralDescent, spec, rows, rates, trace, found)
        return aside_if(is_wide(found.factor.matrix.shape[1]), make)

    return Plan(
        strategy="spectral",
        start=start,
        rates=rates,
        chunk_steps=spectral.steps_a_chunk(rows.shape, held_out=split.validation is not None),
        earlier=None if start.snapshot is None else start.snapshot.spectral,
        begin=begin_descent,
    )


def plan_normal(spec: Specification, split: Split, batches: Batches, start: Start) -> Plan:
    """A descent on the normal equations, where a rehearsal of it keeps its digits."""
    rates, rows = _rates(spec, batches, start), split.train
    chunk_steps = normal.steps_a_chunk(rows.shape)

    def begin_descent(trace: Trace, found: Found) -> Beginning:
        make = partial(begin, spec, start, rates, found)
        beginning = aside_if(is_wide(found.factor.matrix.shape[1]), make)
        steady = yield from keeps_its_digits(beginning, rates, trace, spec.dtype, chunk_steps)
        if not steady:
            return "sensitive"
        return normal.NormalDescent(spec, rows, rates, trace, beginning)

    return Plan(
        strategy="normal",
        start=start,
        rates=rates,
        chunk_steps=chunk_steps,
        earlier=None if start.snapshot is None else start.snapshot.normal,
        begin=begin_descent,
    )


def _rates(spec: Specification, batches: Batches, start: Start) -> Rates | PlateauRates:
    if spec.schedule is not None and spec.schedule.looks_at_the_loss:
        return PlateauRates(spec, batches, start.snapshot)
    return Rates(spec, batches, start.snapshot)

"""A descent on what one pass over the rows tells, or in a loop where that is not safe."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from workers.engine.batches import Batches
from workers.engine.data import Data
from workers.engine.descent import Descent
from workers.engine.dtypes import Weights
from workers.engine.named_parts import Arrays
from workers.engine.normal_equations import Layer, pass_threads
from workers.engine.plateau import PlateauRates
from workers.engine.rates import Rates
from workers.engine.results import Fallback, Status
from workers.engine.snapshot import Snapshot, Start
from workers.engine.specification import Specification
from workers.engine.spectral import loss_over
from workers.engine.spectrum import Squares
from workers.engine.spectrum_loops import flat_loss
from workers.engine.splitting import Split
from workers.engine.survey import Earlier, Found, survey
from workers.engine.trace import Trace


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A strategy by name that needs no more of the rows than `survey` finds.

    `begin` stops now and then, and tells why not where it does not begin. `earlier` is what a fit
    by the same strategy left, if this one goes on from there.
    """

    strategy: str
    start: Start
    rates: Rates | PlateauRates
    chunk_steps: int
    earlier: Earlier | None
    begin: Callable[[Trace, Found], Generator[None, None, Descent | Fallback]]


class PreparedDescent:
    """Least squares: the rows are read once, and the rest is the plan's.

    Rows that are not in memory are read a group at a time, one a call of `advance`, so that a long
    pass can be stopped. Where squares of the data are not safe, `otherwise` names another strategy
    and begins it, and `fallback` says why. See `workers.engine.descent.Descent`.
    """

    def __init__(
        self,
        spec: Specification,
        split: Split,
        batches: Batches,
        plan: Plan,
        otherwise: Callable[[], tuple[str, Descent]],
    ) -> None:
        self._spec = spec
        self._split = split
        self._start = start = plan.start
        self._otherwise = otherwise
        self._plan = plan
        self._descent: Descent | None = None
        self._reading = self._read()
        sources = (split.train, split.validation)
        self._pauses = not all(one is None or isinstance(one, Data) for one in sources)
        self.strategy = plan.strategy
        self.fallback: Fallback | None = None
        self.squares: Squares | None = None
        self.trace = Trace(batches, spec.record.every, spec.optimizer.lr, start.snapshot)
        self.n_steps = 0
        self.failed_step: int | None = None
        self.end: Status | None = None
        self.n_threads = pass_threads(split.train.shape)
        self.chunk_steps = plan.chunk_steps

    def advance(self, n_steps: int) -> None:
        """Make so many updates, or fewer: none before all rows are read."""
        descent = self._descent
        if descent is None:
            descent = self._read_on()
            if descent is None:
                return
            # The caller asked for a chunk of another strategy's.
            n_steps = min(n_steps, descent.chunk_steps)
        try:
            if n_steps:
                descent.advance(n_steps)
        finally:
            # Where a step, or an epoch's end, is cut short, whole steps came before it.
            self._follow(descent)

    def settle(self) -> None:
        """After the last step: go back to the best weights, where the specification says so."""
        if self._descent is not None:
            self._descent.settle()

    def weights(self) -> Weights:
        """Copies of the weights, in the fit's dtype, by their state_dict names."""
        if self._descent is None:
            return self._layer().named(self._spec.dtype)
        return self._descent.weights()

    def gradients(self) -> Weights:
        """Copies of the last update's gradient; RuntimeError before the first one."""
        if self._descent is None:
            raise RuntimeError("no update has been made")
        return self._descent.gradients()

    def snapshot(self) -> Snapshot:
        """What another fit needs to go on from the last update."""
        if self._descent is not None:
            return self._descent.snapshot()
        before = self._start.snapshot
        return self.trace.snapshot(
            0,
            made_by=self._spec.optimizer.made_by,
            weights=self._layer().named(),
            optimizer=[] if before is None else before.optimizer,
            schedule=self._plan.rates.state(0),
            spectral=None if before is None else before.spectral,
            normal=None if before is None else before.normal,
        )

    def kept(self) -> Arrays | None:
        """Copies of all that `advance` changes, but for the trace; None while rows are read."""
        return None if self._descent is None else self._descent.kept()

    def take_up(self, kept: Arrays, n_steps: int) -> None:
        """Go to where the same fit kept this; RuntimeError while rows are read."""
        if self._descent is None:
            raise RuntimeError("the rows are still being read")
        self._descent.take_up(kept, n_steps)
        self._follow(self._descent)

    def final_loss(self) -> float:
        """The loss over the whole training set at `weights()`; it may be infinite or nan."""
        if self._descent is not None:
            return self._descent.final_loss()
        return loss_over(self._spec, self._split.train, Layer.of(self.weights()))

    def _layer(self) -> Layer:
        """What the fit starts from."""
        before = self._start.snapshot
        return Layer.of(self._start.weights if before is None else before.weights)

    def _follow(self, descent: Descent) -> None:
        self.trace, self.n_threads = descent.trace, descent.n_threads
        self.n_steps, self.failed_step, self.end = descent.n_steps, descent.failed_step, descent.end
        self.chunk_steps = descent.chunk_steps

    def _read_on(self) -> Descent | None:
        """Read a group of rows, or all that are in memory; the descent, once there are no more."""
        for _ in self._reading:
            if self._pauses:
                break
        return self._descent

    def _read(self) -> Generator[None, None, None]:
        """Read all rows, and begin the descent."""
        plan = self._plan
        found = yield from survey(self._spec, self._split, self._start, plan.earlier)
        if isinstance(found, Found):
            # What comes now may take long on rows that are in memory too.
            self._pauses = True
            begun = yield from plan.begin(self.trace, found)
            if self._spec.dtype == "float64":
                rest = found.spectrum.rest + flat_loss(found.spectrum)
                self.squares = Squares(found.layer, found.factor, rest)
        else:
            begun = found
        if isinstance(begun, str):
            self.fallback = begun
            self.strategy, self._descent = self._otherwise()
        else:
            self._descent = begun

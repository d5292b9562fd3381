"""One fit of a claim's data."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from service.artifacts import load_arrays
from service.context import Context
from service.lifecycle import Claim
from service.plots import plot_kinds
from service.starts import START, START_STATE
from workers.checking import checked
from workers.checkpoints import StoredCheckpoints
from workers.diagnosing import explain_divergence
from workers.engine import Result, Snapshot, Specification, Start, fit, is_small, loss_over
from workers.inputs import Loaded
from workers.measuring import finite
from workers.peak_memory import peak_bytes
from workers.recording import describe_result, kept_arrays
from workers.runs import Ending, Watch
from workers.taking import Take, everything
from workers.together import Computed

_MANY_WEIGHTS = 2**16


@dataclass(frozen=True)
class FitRun:
    """A fit as far as it came; `peak_bytes` where the most memory that it took is known already."""

    claim: Claim
    spec: Specification
    loaded: Loaded
    result: Result
    peak_bytes: int | None = None

    @classmethod
    def done(cls, claim: Claim, computed: Computed) -> Self:
        """One that has been computed before its turn."""
        return cls(claim, computed.spec, computed.loaded, computed.result, computed.peak_bytes)

    @classmethod
    def of(cls, context: Context, claim: Claim, loaded: Loaded, watch: Watch) -> Self:
        """Fit; raises SpecificationError where that cannot begin."""
        spec = Specification.from_mapping(claim.spec)
        result = fit(
            spec,
            loaded.rows,
            held_out=loaded.held_out,
            start=_start(context, claim),
            on_progress=watch.show,
            should_stop=watch.should_stop,
            checkpoints=StoredCheckpoints(context, claim, watch.heartbeat),
        )
        return cls(claim, spec, loaded, result)

    @property
    def interrupted(self) -> bool:
        """Whether the watch stopped it."""
        return self.result.status == "interrupted"

    @property
    def n_steps(self) -> int:
        """The updates made."""
        return self.result.n_steps

    @property
    def takes_long(self) -> bool:
        """Whether measuring the fit may, or storing what is kept of it."""
        split = self.result.split
        sources = [one for one in (split.train, split.validation) if one is not None]
        n_weights = sum(array.size for array in self.result.weights.values())
        return n_weights > _MANY_WEIGHTS or not all(is_small(one.shape) for one in sources)

    def ending(self, take: Take = everything) -> Ending:
        """The end, where the fit does not go on elsewhere: an interrupted one was cancelled."""
        result = self._with_loss(take)
        spec, diverged = self.claim.spec, result.status == "diverged"
        body = describe_result(self.claim, self.spec, self.loaded, result, take)
        body["diagnostics"]["peak_memory_bytes"] = self.peak_bytes or peak_bytes()
        body["plots"] = plot_kinds(spec, body, self.claim.columns)
        kept = kept_arrays(spec["record"], result)
        if spec.get("checks") and not self.interrupted:
            body["checks"] = take(partial(checked, spec, self.loaded, result, body, kept)) or []
        return Ending(
            status="cancelled" if self.interrupted else "failed" if diverged else "succeeded",
            stop_reason="cancelled" if self.interrupted else result.status,
            result=body,
            compute_seconds=result.compute_seconds,
            error=explain_divergence(spec, result, body["diagnostics"]) if diverged else None,
            artifacts=kept,
        )

    def _with_loss(self, take: Take) -> Result:
        """The result; the loss of one that was cancelled is a pass of its own over the rows."""
        if not self.interrupted:
            return self.result
        found = self.result
        rows = found.split.train
        over = partial(loss_over, self.spec, found.weights, rows, found.scaling, ran=found.strategy)
        loss = take(over)
        return replace(found, final_loss=finite(loss))


def _start(context: Context, claim: Claim) -> Start | None:
    """What the other fit gave, where the fit starts from one."""
    init = claim.spec["init"]
    if "fit" not in init:
        return None
    snapshot = None
    if init["optimizer_state"]:
        snapshot = Snapshot.from_arrays(load_arrays(context, claim.fit_id, START_STATE))
    return Start(load_arrays(context, claim.fit_id, START), snapshot)

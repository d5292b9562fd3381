"""One learning-rate range test on a claim's data."""

from dataclasses import dataclass, fields
from typing import Any, Self

from service.artifacts import load_arrays
from service.context import Context
from service.lifecycle import Claim
from service.starts import START
from service.weight_shapes import count_parameters
from workers.checkpoints import StoredCheckpoints
from workers.engine import LrRange, LrRangeResult, Specification, lr_range_test
from workers.fingerprint import fingerprint
from workers.inputs import Loaded
from workers.runs import Ending, Watch
from workers.taking import Take, everything


@dataclass(frozen=True)
class LrRangeRun:
    """A range test as far as it came."""

    claim: Claim
    result: LrRangeResult
    n_parameters: int

    @classmethod
    def of(cls, context: Context, claim: Claim, loaded: Loaded, watch: Watch) -> Self:
        """Test the range; raises SpecificationError where that cannot begin."""
        spec = _specification(context, claim)
        rule = LrRange(**{one.name: claim.spec[one.name] for one in fields(LrRange)})
        result = lr_range_test(
            spec,
            rule,
            loaded.rows,
            on_progress=watch.show,
            should_stop=watch.should_stop,
            checkpoints=StoredCheckpoints(context, claim, watch.heartbeat),
        )
        n_parameters = count_parameters(spec.model.weight_shapes(loaded.rows.shape))
        return cls(claim, result, n_parameters)

    @property
    def interrupted(self) -> bool:
        """Whether the watch stopped it."""
        return self.result.stop_reason == "interrupted"

    @property
    def n_steps(self) -> int:
        """The points of the curve."""
        return len(self.result.lr)

    @property
    def takes_long(self) -> bool:
        """Its curve is all that there is."""
        return False

    def ending(self, take: Take = everything) -> Ending:
        """The end, where the test does not go on elsewhere: an interrupted one was cancelled."""
        result = self.result
        return Ending(
            status="cancelled" if self.interrupted else "succeeded",
            stop_reason="cancelled" if self.interrupted else result.stop_reason,
            result={
                **_curve(result),
                "progress": self._last_progress(),
                "diagnostics": self._diagnostics(),
                "fingerprint": fingerprint(self.claim, result),
            },
            compute_seconds=result.compute_seconds,
        )

    def _last_progress(self) -> dict[str, Any]:
        result, num_iter = self.result, self.claim.spec["num_iter"]
        return {
            "fraction": self.n_steps / num_iter if result.is_cut else 1.0,
            "step": self.n_steps,
            "total_steps": num_iter,
            "epoch": result.epoch,
            "loss": float(result.raw_loss[-1]) if self.n_steps else None,
            "lr": float(result.lr[-1]) if self.n_steps else None,
            "eta_seconds": 0.0,
        }

    def _diagnostics(self) -> dict[str, Any]:
        seconds = self.result.compute_seconds
        return {
            "n_parameters": self.n_parameters,
            "strategy": self.result.strategy,
            "steps_per_second": self.n_steps / seconds if seconds > 0 else None,
        }


def _specification(context: Context, claim: Claim) -> Specification:
    """The fit whose rates are tried: the engine ignores its length, but must be told one."""
    spec = claim.spec | {"epochs": None, "steps": claim.spec["num_iter"]}
    if "fit" in spec["init"]:
        spec["init"] = {"weights": load_arrays(context, claim.fit_id, START)}
    return Specification.from_mapping(spec)


def _curve(result: LrRangeResult) -> dict[str, Any]:
    suggestion = {"steepest": result.steepest, "valley": result.valley}
    return {
        "lr": result.lr.tolist(),
        "loss": result.loss.tolist(),
        "raw_loss": result.raw_loss.tolist(),
        "suggestion": None if result.reason else suggestion,
        "reason": result.reason,
        "stop_reason": None if result.is_cut else result.stop_reason,
    }

"""The errands that requests wait for: do one, and tell how it went."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from service.context import Context
from service.errands import Outcome, told_of
from service.errors import Gone, InvalidInput, Place, ThalwegError
from service.storage import MissingObject
from workers.engine import SpecificationError
from workers.gradients import check_gradients
from workers.lr_plotting import draw_lr_plot
from workers.plotting import draw_plot
from workers.predicting import evaluate, predict

log = structlog.get_logger(__name__)

# One entry a kind.
ERRANDS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "plot": draw_plot,
    "lr_plot": draw_lr_plot,
    "predict": predict,
    "evaluate": evaluate,
    "gradients": check_gradients,
}


def run_errand(
    context: Context,
    ticket: str,
    kind: str,
    arguments: Mapping[str, Any],
    caller: Mapping[str, Any] | None = None,
) -> None:
    """Do the errand; the ticket's stream says how it went.

    `caller` is what the log calls the request that waits for it.
    """
    named = {"errand": kind, "fit_id": arguments.get("fit_id"), **(caller or {})}
    with structlog.contextvars.bound_contextvars(**named):
        began = time.perf_counter()
        outcome, told = _done(context, kind, arguments)
        log.info(
            f"errand_{outcome}",
            seconds=round(time.perf_counter() - began, 6),
            code=told["code"] if outcome == "refused" else None,
        )
        context.events.publish(ticket, outcome, told)


def _done(
    context: Context, kind: str, arguments: Mapping[str, Any]
) -> tuple[Outcome, dict[str, Any]]:
    """How it went, and what whoever waits is told."""
    try:
        return "done", ERRANDS[kind](context, **arguments)
    except ThalwegError as error:
        return "refused", told_of(error)
    except SpecificationError as error:
        place = Place("invalid_spec", error.detail, error.pointer)
        return "refused", told_of(InvalidInput(error.detail, places=[place]))
    except MissingObject as error:
        log.warning("object_missing", key=error.key)
        detail = "what this is made from, the dataset or the fit's own numbers, has been deleted"
        return "refused", told_of(Gone(detail))
    except Exception:
        # The outermost edge: whoever waits must hear of it, and the operator must see why.
        log.exception("errand_crashed", arguments=arguments)
        return "failed", {"detail": f"the worker failed at: {kind}"}

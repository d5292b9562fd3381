"""The errands that requests wait for: do one, and tell how it went."""

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from service.context import Context
from service.errands import told_of
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


def run_errand(context: Context, ticket: str, kind: str, arguments: Mapping[str, Any]) -> None:
    """Do the errand; the ticket's stream says how it went."""
    try:
        told = ERRANDS[kind](context, **arguments)
    except ThalwegError as error:
        context.events.publish(ticket, "refused", told_of(error))
    except SpecificationError as error:
        place = Place("invalid_spec", error.detail, error.pointer)
        refusal = InvalidInput(error.detail, places=[place])
        context.events.publish(ticket, "refused", told_of(refusal))
    except MissingObject as error:
        context.events.publish(ticket, "refused", told_of(Gone(f"{error.key} is no longer kept")))
    except Exception:
        # The outermost edge: whoever waits must hear of it, and the operator must see why.
        log.exception("errand_crashed", errand=kind, arguments=arguments)
        context.events.publish(ticket, "failed", {"detail": f"the worker failed at: {kind}"})
    else:
        context.events.publish(ticket, "done", told)

"""What a CUDA device computes."""

from collections.abc import Iterator

from service.errors import Place
from service.schemas.fits import FitRequest
from service.schemas.losses import BceLoss, CrossEntropyLoss
from service.schemas.models import Mlp
from service.settings import Settings

_OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad")
_OTHER_SCHEDULES = ("reduce_on_plateau", "one_cycle", "cyclic")


def device_places(request: FitRequest, settings: Settings) -> list[Place]:
    """What keeps the fit from the device that it asks for."""
    if request.device != "cuda":
        return []
    if not settings.gpu:
        detail = "no worker of this service computes on a CUDA device; ask for auto or cpu"
        return [Place("no_such_device", detail, "/device")]
    detail = "a CUDA device does not compute this; leave it out, or ask for cpu"
    return [Place("not_on_device", detail, place) for place in _uncovered(request)]


def _uncovered(request: FitRequest) -> Iterator[str]:
    """Pointers to what the engine's strategy `graphs` does not cover: see its planner."""
    for name in ("tolerance", "validation", "early_stopping"):
        if getattr(request, name) is not None:
            yield f"/{name}"
    if request.optimizer.kind not in _OPTIMIZERS:
        yield "/optimizer/kind"
    if request.scheduler is not None and request.scheduler.kind in _OTHER_SCHEDULES:
        yield "/scheduler/kind"
    if request.record.gradients:
        yield "/record/gradients"
    if request.strategy not in ("auto", "graphs"):
        yield "/strategy"
    yield from _uncovered_numbers(request)


def _uncovered_numbers(request: FitRequest) -> Iterator[str]:
    """What is drawn, counted or kept beside the weights."""
    model, loss = request.model, request.loss
    if isinstance(model, Mlp) and model.dropout:
        yield "/model/dropout"
    if isinstance(model, Mlp) and model.batch_norm:
        yield "/model/batch_norm"
    if isinstance(loss, BceLoss) and loss.pos_weight is not None:
        yield "/loss/pos_weight"
    if isinstance(loss, CrossEntropyLoss) and loss.class_weight is not None:
        yield "/loss/class_weight"

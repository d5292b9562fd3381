"""A learning-rate range test's request and its dataset → the resolved spec."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from service.errors import InvalidInput, Place
from service.origin import Origin
from service.resolution import resolve
from service.schemas.fits import FitFields, FitRequest, Record, ValidationDataset
from service.schemas.inits import FitInit
from service.schemas.lr_range import LrRangeRequest
from service.settings import Settings


def refuse_unusable(request: LrRangeRequest) -> None:
    """Raise InvalidInput for what means nothing on any dataset, with a pointer to each place."""
    places = [*_rate_places(request), *_start_places(request), *_device_places(request)]
    if places:
        raise InvalidInput(places[0].detail, places=places)


def _rate_places(request: LrRangeRequest) -> list[Place]:
    if request.end_lr <= request.start_lr:
        sent = "end_lr" if "end_lr" in request.model_fields_set else "start_lr"
        detail = f"end_lr, {request.end_lr:g}, must be above start_lr, {request.start_lr:g}"
        return [Place("rates_must_rise", detail, f"/{sent}")]
    # The optimizers multiply rates by factors of their own, and the product must be a number.
    most = float(np.finfo(request.dtype).max) ** 0.5
    detail = f"{request.dtype} has room for rates from {1 / most:.1e} to {most:.1e}"
    return [
        Place("rate_out_of_range", detail, f"/{name}")
        for name in ("start_lr", "end_lr")
        if not 1 / most <= getattr(request, name) <= most
    ]


def _device_places(request: LrRangeRequest) -> list[Place]:
    if request.device != "cuda":
        return []
    detail = "a range test's steps are made on a CPU; ask for auto or cpu"
    return [Place("no_such_device", detail, "/device")]


def _start_places(request: LrRangeRequest) -> list[Place]:
    if not (isinstance(request.init, FitInit) and request.init.optimizer_state):
        return []
    detail = "a range test takes another fit's weights, and begins with an optimizer of its own"
    return [Place("no_optimizer_state", detail, "/init/optimizer_state")]


def resolve_range_test(
    request: LrRangeRequest,
    dataset: Mapping[str, Any],
    settings: Settings,
    *,
    origin: Origin | None = None,
) -> dict[str, Any]:
    """The spec to keep, every default filled in; what plays no part stays as it was sent.

    Arguments and errors are those of `resolve`, for the short fit that the test makes.
    """
    try:
        fit = resolve(short_fit(request), dataset, settings, origin=origin)
    except InvalidInput as error:
        raise InvalidInput(error.detail, places=[*map(_moved, error.places)]) from None
    spec = request.model_dump(mode="json", exclude={"dataset"})
    return {"dataset": fit["dataset"], **spec, "features": fit["features"], "loss": fit["loss"]}


def short_fit(request: LrRangeRequest) -> FitRequest:
    """The fit of `num_iter` updates, without what plays no part in a range test."""
    fields = {name: getattr(request, name) for name in FitFields.model_fields}
    elsewhere = isinstance(request.validation, ValidationDataset)
    return FitRequest(
        **fields
        | {
            "epochs": None,
            "steps": request.num_iter,
            "scheduler": None,
            "tolerance": None,
            "early_stopping": None,
            "record": Record(),
            "validation": None if elsewhere else request.validation,
        }
    )


def _moved(place: Place) -> Place:
    """The short fit's steps are the request's iterations."""
    return Place(place.code, place.detail, "/num_iter") if place.pointer == "/steps" else place

"""The service refuses for a CUDA device what the engine does not cover there, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from service import lifecycle
from service.context import Context, open_context
from service.devices import device_places
from service.errors import InvalidInput
from service.lr_range import refuse_unusable
from service.queue import FITS_GPU
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from service.schemas.lr_range import LrRangeRequest
from service.settings import Settings
from service.suitability import loss_of
from tests.service.test_lifecycle import submit
from tests.workers.engine.test_rules import DEFAULTS, SCHEDULED, TORCH_LOSSES
from workers.engine import Shape, Specification, SpecificationError, check

MLP = {"kind": "mlp", "hidden": [4]}
SHAPE = Shape(n_rows=100, n_features=3, n_targets=1)
CHANGES: list[dict[str, Any]] = [
    {}, {"model": MLP}, {"standardize": True}, {"clip_grad_norm": 1.0}, {"dtype": "float64"},
    {"model": MLP | {"dropout": 0.1}}, {"model": MLP | {"batch_norm": True}},
    {"tolerance": 0.1}, {"validation": {"fraction": 0.2}}, {"penalty": {"l1": 0.1, "l2": 0.1}},
    {"validation": {"fraction": 0.2}, "early_stopping": {}},
    {"record": {"weights": True}}, {"record": {"gradients": True}},
    {"strategy": "graphs"}, {"strategy": "kernels"}, {"strategy": "large"},
    *({"optimizer": {"kind": kind}} for kind in DEFAULTS),
    *({"scheduler": {"kind": kind} | arguments} for kind, _, arguments in SCHEDULED),
    *({"loss": {"kind": kind}} for kind in TORCH_LOSSES),
    {"model": {"kind": "logistic"}, "loss": {"kind": "bce", "pos_weight": 2.0}},
    {"model": {"kind": "softmax"}, "loss": {"kind": "cross_entropy", "class_weight": [1.0, 2.0]}},
]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_it_refuses_what_the_engine_refuses(changes: dict[str, Any]) -> None:
    # given a fit for a device
    body = {"dataset": "ds_1", "target": "y", "steps": 5, "device": "cuda"} | changes
    if changes.get("optimizer") == {"kind": "sgd"} or "scheduler" in changes:
        body["optimizer"] = {"kind": "sgd", "lr": 0.01, "momentum": 0.9}
    request = TypeAdapter(FitRequest).validate_python(body)
    resolved = request.model_dump() | {"loss": loss_of(request).model_dump()}

    # when the engine is asked
    scored = resolved["loss"]["kind"] == "cross_entropy"
    try:
        check(Specification.from_mapping(resolved), SHAPE._replace(n_classes=2 if scored else None))
        is_covered = True
    except SpecificationError:
        is_covered = False

    # then the service says the same beforehand
    assert (device_places(request, Settings(gpu=True)) == []) == is_covered


@pytest.fixture
def gpu_context(context: Context) -> Iterator[Context]:
    """A service that has been told of a CUDA device."""
    opened = open_context(context.settings.model_copy(update={"gpu": True}))
    yield opened
    opened.close()


def test_it_waits_for_a_worker_with_a_device(gpu_context: Context, table: DatasetRequest) -> None:
    # given fits for either device
    ids = [submit(gpu_context, table, device=device)["id"] for device in ("cuda", "cpu")]

    # then a worker without one is never handed the first
    on_device = lifecycle.claim_waiting(gpu_context, FITS_GPU, "worker")
    assert [claim.fit_id for claim in on_device] == ids[:1]
    assert gpu_context.queue.undelivered(FITS_GPU) == 1


def test_a_range_test_is_made_on_a_cpu() -> None:
    body = {"dataset": "ds_1", "target": "y", "device": "cuda"}

    with pytest.raises(InvalidInput) as refused:
        refuse_unusable(LrRangeRequest.model_validate(body))

    places = [(place.code, place.pointer) for place in refused.value.places]
    assert places == [("no_such_device", "/device")]

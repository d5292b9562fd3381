"""Which pictures suit which fit, and what is said of one that does not."""

from typing import Any

import pytest

from service.context import Context
from service.errors import NotFound, PlotNotApplicable
from service.plots import PLOT_KINDS, Plot, get_plot, plot_kinds
from service.schemas.datasets import DatasetRequest
from service.schemas.plots import AnimationFormat, PlotFormat, PlotOptions
from tests.service.claiming import finish_one
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import claimed, submit
from workers.plots import PLOTS

NUMBERS = ["loss", "residuals", "predicted"]
CLASSES = ["loss", "confusion", "roc"]
LINE = [[1.0]]


def column(name: str, kind: str = "number") -> dict[str, Any]:
    return {"name": name, "type": kind}


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "features": ["x"],
        "target": "y",
        "model": {"kind": "linear"},
        "loss": {"kind": "mse"},
        "record": {"weights": False},
    } | changes


def result(n_classes: int | None = None, **changes: Any) -> dict[str, Any]:
    """What a fit's row keeps of it; of classes with a row of each."""
    diagonal = [[int(i == j) for j in range(n_classes or 0)] for i in range(n_classes or 0)]
    metrics = {"mse": 1.0} if n_classes is None else {"confusion_matrix": diagonal}
    return {
        "loss_history": {"n": 5},
        "weights": {"weight": LINE, "bias": [0.0]},
        "classes": None if n_classes is None else list(range(n_classes)),
        "metrics": {"train": metrics, "validation": None},
    } | changes


def kinds(spec: dict[str, Any], result: dict[str, Any], **types: str) -> set[str]:
    columns = [
        column(name, types.get(name, "number")) for name in ("y", *spec["features"], "other")
    ]
    return set(plot_kinds(spec, result, columns))


def of_classes(kind: str, **changes: Any) -> dict[str, Any]:
    return spec(loss={"kind": kind}, **changes)


RECORDED = {"record": {"weights": True}}
MLP = {"model": {"kind": "mlp"}}
NO_WEIGHTS_SHOWN: dict[str, Any] = {"weights": None}
LAYERS: dict[str, Any] = {"weights": {"layers.0.weight": LINE, "layers.0.bias": [0.0]}}
WIDE: dict[str, Any] = {"weights": {"weight": [[1.0, 2.0]], "bias": [0.0]}}
PLANE: dict[str, Any] = {"weights": {"weight": [[1.0, 2.0]]}}


def test_every_kind_that_can_suit_can_be_drawn() -> None:
    assert (*PLOTS, "animation") == PLOT_KINDS


@pytest.mark.parametrize(
    ("asked", "came_out", "types", "expected"),
    [
        (spec(), result(), {}, {*NUMBERS, "fit", "surface"}),
        (spec(**RECORDED), result(), {},
         {*NUMBERS, "fit", "surface", "weights", "animation"}),
        (spec(target=["y"]), result(), {}, {*NUMBERS, "fit", "surface"}),
        (spec(**MLP, **RECORDED), result(**LAYERS), {},
         {*NUMBERS, "fit", "weights", "animation"}),
        (spec(**MLP), result(**NO_WEIGHTS_SHOWN), {}, {*NUMBERS, "fit"}),
        (spec(features=["x", "z"]), result(**WIDE), {}, {*NUMBERS}),
        (spec(features=["x", "z"]), result(**PLANE), {}, {*NUMBERS, "surface"}),
        (spec(), result(**PLANE), {"x": "category"}, {*NUMBERS, "surface"}),
        (spec(target=["y", "z"]), result(weights={"weight": [[1.0], [2.0]]}), {}, {*NUMBERS}),
        (of_classes("bce", model={"kind": "logistic"}), result(2), {},
         {*CLASSES, "fit", "surface"}),
        (of_classes("hinge"), result(2), {}, {*CLASSES, "surface"}),
        (of_classes("cross_entropy", **MLP), result(2, **LAYERS), {}, {*CLASSES, "fit"}),
        (of_classes("cross_entropy", **MLP), result(3, **LAYERS), {}, {*CLASSES}),
        (of_classes("cross_entropy", model={"kind": "softmax"}),
         result(2, weights={"weight": [[1.0], [2.0]]}), {}, {*CLASSES, "fit"}),
        (of_classes("bce", features=["x", "z"]), result(2, **WIDE), {}, {*CLASSES, "boundary"}),
        (of_classes("bce", features=["x", "z"]), result(2, **WIDE), {"z": "category"},
         {*CLASSES}),
        (of_classes("cross_entropy", features=["x", "z"], **MLP), result(11, **LAYERS), {},
         {"loss", "boundary", "confusion"}),
    ],
)  # fmt: skip
def test_a_fit_has_the_kinds_that_suit_it(
    asked: dict[str, Any], came_out: dict[str, Any], types: dict[str, str], expected: set[str]
) -> None:
    assert kinds(asked, came_out, **types) == expected


def test_a_fit_without_a_history_has_what_needs_none() -> None:
    assert kinds(spec(), result(loss_history=None)) == {*NUMBERS, "fit", "surface"} - {"loss"}


def test_a_fit_that_failed_before_its_first_step_has_nothing_that_moves() -> None:
    at_once = result(loss_history={"n": 0})

    assert kinds(spec(**RECORDED), at_once) == {*NUMBERS, "fit", "surface"}


def test_held_out_rows_of_one_class_have_no_roc() -> None:
    metrics = {"train": {"confusion_matrix": [[1, 0], [0, 1]]}}
    one = metrics | {"validation": {"confusion_matrix": [[3, 1], [0, 0]]}}

    assert "roc" not in kinds(of_classes("hinge"), result(2, metrics=one))
    assert "roc" in kinds(of_classes("hinge"), result(2, metrics=metrics | {"validation": None}))


def ended(context: Context, table: DatasetRequest, *suiting: str, **changes: Any) -> str:
    fit = submit(context, table, **changes)
    finish_one(
        context, claimed(context, fit["id"]), status="succeeded", stop_reason="completed",
        result={"plots": list(suiting)},
    )  # fmt: skip
    return str(fit["id"])


def refusal(
    context: Context, fit_id: str, kind: str, plot_format: PlotFormat | AnimationFormat = "png"
) -> str:
    with pytest.raises(PlotNotApplicable) as refused:
        get_plot(context, fit_id, Plot(kind, plot_format, PlotOptions()), OWNER)
    return refused.value.detail


def test_a_kind_that_does_not_suit_is_told_with_those_that_do(
    context: Context, table: DatasetRequest
) -> None:
    fit_id = ended(context, table, "loss", "fit")

    assert refusal(context, fit_id, "roc").endswith("has no plot roc.png; it has: loss, fit")
    assert refusal(context, submit(context, table)["id"], "loss").endswith(
        "it has: none, for it is queued: plots are drawn once it has ended"
    )


def test_what_moves_asks_for_recorded_weights(context: Context, table: DatasetRequest) -> None:
    without = ended(context, table, "loss", "fit")
    recorded = ended(context, table, "loss", record={"weights": True})

    assert "record.weights" in refusal(context, without, "animation", "gif")
    assert "record.weights" in refusal(context, without, "weights")
    assert "record.weights" not in refusal(context, recorded, "animation", "mp4")


def test_an_animation_is_no_still_picture(context: Context, table: DatasetRequest) -> None:
    fit_id = ended(context, table, "loss", "animation")

    assert "an animation is a gif or an mp4" in refusal(context, fit_id, "animation", "png")
    assert "loss.gif" in refusal(context, fit_id, "loss", "gif")


def test_anothers_fit_has_no_pictures(context: Context, table: DatasetRequest) -> None:
    fit_id = ended(context, table, "loss")

    with pytest.raises(NotFound) as refused:
        get_plot(context, fit_id, Plot("loss", "png", PlotOptions()), "someone else")
    assert refused.value.code == "not_found"

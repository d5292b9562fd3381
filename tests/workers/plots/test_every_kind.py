"""Every picture of every sort of fit: it is drawn, whatever the numbers, names and sizes."""

import io
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.context import Context
from service.schemas.datasets import DatasetRequest
from service.schemas.plots import PlotFormat, PlotOptions
from tests.workers.plots.given import (
    ADAM,
    BLOBS,
    FROM_AFAR,
    HALVES,
    MLP,
    MOONS,
    NEAR_THE_LINE,
    PARABOLA,
    RECORDED,
    SGD,
    X,
    ended,
)
from workers.plots import PLOTS, Subject, animate, render
from workers.plots.canvas import canvas

SMALL = PlotOptions(width=400, height=300, dpi=60)
DIVERGING = {"optimizer": {"kind": "sgd", "lr": 30.0}, "steps": 500, "strategy": "reference"}
HUGE = DatasetRequest(
    columns={"x": (X * 1.7e308).tolist(), "z": X[::-1].tolist(), "y": (X**3 * 1.7e308).tolist()}
)
LONE = DatasetRequest(columns={"x": [2.0], "y": [3.0]})
SAME = DatasetRequest(columns={"x": [2.0] * 3, "y": [3.0] * 3})
COLOURS = DatasetRequest(columns={"c": ["red", "blue"] * 5, "y": list(range(10))})

CASES: dict[str, tuple[DatasetRequest, dict[str, Any]]] = {
    "line": (NEAR_THE_LINE, {**RECORDED, "validation": {"fraction": 0.2}}),
    "standardized": (NEAR_THE_LINE, {**RECORDED, "standardize": True}),
    "polynomial": (PARABOLA, {"model": {"kind": "polynomial", "degree": 3}, **RECORDED}),
    "plane": (PARABOLA, {"model": {"kind": "linear", "bias": False}, **RECORDED}),
    "targets": (PARABOLA, {"target": ["y", "z"], **RECORDED}),
    "categories": (COLOURS, {"model": {"kind": "linear", "bias": False}}),
    "network": (NEAR_THE_LINE, {**MLP, **ADAM, **RECORDED}),
    "logistic": (HALVES, {"model": {"kind": "logistic"}, **RECORDED}),
    "hinge": (MOONS, {"loss": {"kind": "hinge"}, **RECORDED}),
    "softmax": (BLOBS, {"model": {"kind": "softmax"}, "validation": {"fraction": 0.1}}),
    "classes": (MOONS, {**MLP, "loss": {"kind": "cross_entropy"}, **RECORDED}),
    "final": (NEAR_THE_LINE, {"record": {"final_weights_only": True}}),
    "final classes": (MOONS, {"model": {"kind": "logistic"},
                              "record": {"final_weights_only": True}}),
    "diverged": (NEAR_THE_LINE, {**DIVERGING, "dtype": "float64", **RECORDED}),
    "diverged in float32": (NEAR_THE_LINE, {**DIVERGING, **RECORDED}),
    "diverged network": (NEAR_THE_LINE, {**DIVERGING, **MLP, **RECORDED}),
    "diverged polynomial": (PARABOLA, {**DIVERGING, "model": {"kind": "polynomial"}}),
    "huge": (HUGE, {"dtype": "float64", **RECORDED}),
    "huge curve": (HUGE, {"dtype": "float64", "features": ["x"], **RECORDED}),
    "one row": (LONE, {**SGD, **RECORDED}),
    "one point": (SAME, {"init": {"kind": "zeros"}, "optimizer": {"kind": "sgd", "lr": 0}}),
}  # fmt: skip


def look(subject: Subject, kind: str) -> None:
    """Draw it, and see whether it is a picture."""
    if kind == "animation":
        with Image.open(io.BytesIO(animate(subject, "gif", SMALL))) as gif:
            assert gif.size == (400, 300)
        assert b"ftyp" in animate(subject, "mp4", SMALL)[:12]
        return
    with Image.open(io.BytesIO(render(PLOTS[kind], subject, "png", SMALL))) as png:
        assert png.size == (400, 300)
        assert len(png.convert("RGB").getcolors(2**24) or ()) > 10
    if subject.stop_reason == "diverged":
        # Only there a number may be too large for the paths of one format alone.
        assert ET.fromstring(render(PLOTS[kind], subject, "svg", SMALL)).tag.endswith("svg")  # noqa: S314 (our own)


@pytest.mark.parametrize("case", CASES)
def test_every_kind_that_a_fit_lists_is_drawn(context: Context, case: str) -> None:
    table, changes = CASES[case]

    subject = ended(context, table, **changes)

    assert subject.result["plots"]
    assert ("diverged" in case) <= (subject.stop_reason == "diverged")
    for kind in subject.result["plots"]:
        look(subject, kind)


def numbers(name: str) -> tuple[DatasetRequest, dict[str, Any]]:
    """A line whose columns have the name."""
    table = DatasetRequest(columns={f"{name}x": X.tolist(), name: (1 + X).tolist()})
    return table, {"target": name, **RECORDED}


def classes(name: str) -> tuple[DatasetRequest, dict[str, Any]]:
    """Two classes whose columns and texts have the name."""
    columns = {name: X.tolist(), "b": (X**2).tolist(), "y": [f"{name}{int(x > 0)}" for x in X]}
    return DatasetRequest.model_validate({"columns": columns}), {"model": {"kind": "softmax"}}


@pytest.mark.parametrize(("theme", "sort"), [("light", numbers), ("dark", classes)])
@pytest.mark.parametrize("name", ["$x_{", "a & <b>", "名前", "tab\there", "nul\x00", "long " * 30])
def test_every_name_can_be_drawn_in_the_size_that_was_asked_for(
    context: Context, theme: str, sort: Callable[[str], Any], name: str
) -> None:
    options = PlotOptions.model_validate({"width": 640, "height": 480, "dpi": 80, "theme": theme})
    table, changes = sort(name)
    subject = ended(context, table, **changes)

    for kind in set(subject.result["plots"]) & set(PLOTS):
        svg = render(PLOTS[kind], subject, "svg", options)
        assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314 (our own)
    kind = "fit" if sort is numbers else "confusion"
    with Image.open(io.BytesIO(render(PLOTS[kind], subject, "png", options))) as png:
        assert png.size == (640, 480)


@pytest.mark.parametrize("plot_format", ["png", "svg"])
def test_the_same_fit_gives_the_same_bytes(context: Context, plot_format: PlotFormat) -> None:
    line = ended(context, NEAR_THE_LINE, **RECORDED)
    classes = ended(context, MOONS, model={"kind": "logistic"})

    for subject in (line, classes):
        for kind in set(subject.result["plots"]) & set(PLOTS):
            pictures = {render(PLOTS[kind], subject, plot_format, SMALL) for _ in range(2)}
            assert len(pictures) == 1


def test_powers_of_ten_are_written_out(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, steps=50, **FROM_AFAR, **SGD)

    svg = render(PLOTS["loss"], subject, "svg", SMALL).decode()

    assert "<!-- 0.1 -->" in svg
    assert "mathdefault" not in svg


@given(width=st.integers(100, 4000), height=st.integers(100, 4000), dpi=st.integers(30, 400))
def test_a_picture_has_every_pixel_that_was_asked_for(width: int, height: int, dpi: int) -> None:
    with canvas(PlotOptions(width=width, height=height, dpi=dpi)) as figure:
        assert [int(side) for side in figure.bbox.size] == [width, height]


def test_letters_that_leave_no_room_are_drawn_all_the_same(context: Context) -> None:
    subject = ended(context, NEAR_THE_LINE, **RECORDED)
    tiny = PlotOptions(width=100, height=100, dpi=400)

    for kind in set(subject.result["plots"]) & set(PLOTS):
        with Image.open(io.BytesIO(render(PLOTS[kind], subject, "png", tiny))) as png:
            assert png.size == (100, 100)

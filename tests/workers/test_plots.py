"""The pictures: what is drawn, for every look and every odd name."""

import io
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from service.schemas.plots import PlotFormat, PlotOptions
from workers.plots import PLOTS, PlotInput, draw_fit, draw_loss, render


def given(target: str = "y", stop_reason: str = "completed", n: int = 50) -> PlotInput:
    steps = np.arange(n)
    x = np.linspace(-1, 1, 20)
    return PlotInput(
        spec={"features": ["x"], "target": target, "loss": {"kind": "mse"}},
        stop_reason=stop_reason,
        history={"step": steps, "loss": 100.0 * 0.8**steps},
        weights={"weight": np.array([[2.0]]), "bias": np.array([3.0])},
        initial_weights={"weight": np.array([[-3.0]]), "bias": np.array([-2.0])},
        x=x,
        y=3 + 2 * x,
    )


def test_the_fit_shows_the_data_and_both_lines() -> None:
    axes = Figure().subplots()

    draw_fit(axes, given())

    initial, fitted = axes.get_lines()
    assert np.array_equal(initial.get_xydata(), [[-1, 1], [1, -5]])
    assert np.array_equal(fitted.get_xydata(), [[-1, 1], [1, 5]])
    assert np.shape(axes.collections[0].get_offsets()) == (20, 2)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


def test_a_falling_loss_is_logarithmic_and_whole() -> None:
    axes = Figure().subplots()

    draw_loss(axes, given())

    assert axes.get_yscale() == "log"
    assert np.shape(axes.get_lines()[0].get_xydata()) == (50, 2)


def test_a_loss_of_zero_is_drawn_on_a_linear_axis() -> None:
    axes = Figure().subplots()
    flat = given()
    flat.history["loss"][-1] = 0.0

    draw_loss(axes, flat)

    assert axes.get_yscale() == "linear"


@pytest.mark.parametrize("kind", sorted(PLOTS))
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("target", ["y", "$x_{", "a & <b>", "名前", "tab\there", "nul\x00"])
def test_every_name_can_be_drawn_in_the_size_that_was_asked_for(
    kind: str, theme: str, target: str
) -> None:
    options = PlotOptions.model_validate({"width": 640, "height": 480, "dpi": 80, "theme": theme})

    png = render(PLOTS[kind], given(target), "png", options)
    svg = render(PLOTS[kind], given(target), "svg", options)

    assert Image.open(io.BytesIO(png)).size == (640, 480)
    assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314 (our own)


@pytest.mark.parametrize("plot_format", ["png", "svg"])
def test_the_same_fit_gives_the_same_bytes(plot_format: PlotFormat) -> None:
    pictures = {render(draw_fit, given(), plot_format, PlotOptions()) for _ in range(2)}

    assert len(pictures) == 1


@pytest.mark.parametrize("n", [0, 1])
def test_a_fit_that_diverged_at_once_still_has_its_plot(n: int) -> None:
    assert render(draw_loss, given(stop_reason="diverged", n=n), "png", PlotOptions())

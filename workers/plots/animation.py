"""The fitted curve as it moves."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from service.schemas.plots import AnimationFormat, PlotOptions
from workers.plots.canvas import canvas
from workers.plots.curves import Curve, draw_rows, look_at
from workers.plots.framing import legend_below, thin
from workers.plots.movies import MOVIES
from workers.plots.palette import Frame
from workers.plots.subject import Arrays, Subject
from workers.plots.wording import number

MOST_FRAMES = 100


@dataclass(frozen=True)
class Moment:
    """The weights after some updates, and what the frame's title says of them."""

    weights: Arrays
    title: str


def animate(subject: Subject, animation_format: AnimationFormat, options: PlotOptions) -> bytes:
    """The animation's bytes: the same fit gives the same ones."""
    with canvas(options) as figure:
        return MOVIES[animation_format](frames(figure, subject))


def moments(subject: Subject) -> list[Moment]:
    """At most MOST_FRAMES evenly kept moments, from the first recorded one to the fit's end."""
    path = subject.recorded
    step, loss = subject.history["step"], subject.history["loss"]
    what = "a batch's loss" if subject.batches.per_epoch > 1 else "loss"
    found = [
        Moment(path.at(i), f"After {step[i]:,} steps: {what} {number(loss[i])}")
        for i in thin(len(step), MOST_FRAMES - 1)
    ]
    final = subject.result["final_loss"]
    said = "no longer finite" if final is None else number(final)
    when = f"After {subject.n_steps:,} steps" if path.arrived else "After the best epoch"
    return [*found, Moment(subject.fitted.weights, f"{when}: loss {said}")]


def frames(figure: Figure, subject: Subject) -> Iterator[Frame]:
    """One frame a moment: what stands still is drawn once."""
    rows = subject.rows()
    curve = Curve.over(subject, rows)
    shown = moments(subject)
    numbers = [curve.at(moment.weights) for moment in shown]
    axes = figure.subplots()
    draw_rows(axes, subject, rows)
    axes.plot(curve.x, numbers[0], label="initial", color="0.55", linestyle="--")
    (line,) = axes.plot(curve.x, numbers[0], label="fitted", color="C3", linewidth=2)
    look_at(axes, rows, numbers)
    legend_below(axes)
    title = axes.set_title(shown[0].title)
    for artist in (line, title):
        artist.set_animated(True)
    agg = FigureCanvasAgg(figure)
    agg.draw()
    background = agg.copy_from_bbox(figure.bbox)
    for moment, y in zip(shown, numbers, strict=True):
        agg.restore_region(background)
        line.set_ydata(y)
        title.set_text(moment.title)
        axes.draw_artist(line)
        axes.draw_artist(title)
        yield np.asarray(agg.buffer_rgba()).copy()

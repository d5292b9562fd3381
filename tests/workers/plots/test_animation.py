"""The curve that moves: its frames, and its files."""

import io
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageSequence

from service.context import Context
from service.schemas.plots import AnimationFormat, PlotOptions
from tests.workers.plots.given import (
    ADAM,
    FROM_AFAR,
    HALVES,
    LINE,
    MLP,
    NEAR_THE_LINE,
    PARABOLA,
    RECORDED,
    SGD,
    ended,
)
from workers.plots.animation import animate, frames, moments
from workers.plots.canvas import canvas
from workers.plots.movies import mp4
from workers.plots.palette import Frame, Palette
from workers.plots.subject import Subject

SMALL = PlotOptions(width=320, height=200, dpi=50)


def decoded(content: bytes, directory: Path, width: int, height: int) -> Frame:
    """The film's frames (n, height, width, 3), by ffmpeg itself."""
    place = directory / "film.mp4"
    place.write_bytes(content)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(place)]
    raw = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True
    ).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def pictures(content: bytes) -> list[Frame]:
    """The frames of a GIF, each (height, width, 3)."""
    with Image.open(io.BytesIO(content)) as gif:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]


def drawn_frames(subject: Subject) -> list[Frame]:
    with canvas(SMALL) as figure:
        return list(frames(figure, subject))


def test_each_recorded_step_is_a_frame_and_the_end_is_one_more(
    context: Context, tmp_path: Path
) -> None:
    subject = ended(context, LINE, steps=12, **FROM_AFAR, **SGD, **RECORDED)

    gif = pictures(animate(subject, "gif", SMALL))
    film = decoded(animate(subject, "mp4", SMALL), tmp_path, 320, 200)

    assert (len(gif), len(film)) == (13, 13)
    assert {frame.shape for frame in gif} == {(200, 320, 3)}
    for still, moving in zip(gif, film, strict=True):
        assert np.abs(still.astype(int) - moving.astype(int)).mean() < 3


def test_the_titles_say_the_loss_at_the_weights(context: Context) -> None:
    subject = ended(context, LINE, steps=12, **FROM_AFAR, **SGD, **RECORDED)

    first, *_, last = moments(subject)

    assert first.title == f"After 0 steps: loss {subject.history['loss'][0]:.4g}"
    assert last.title == f"After 12 steps: loss {subject.result['final_loss']:.4g}"
    assert first.weights["weight"] == [[-3]]
    assert last.weights["bias"] == subject.fitted.weights["bias"]


def test_of_many_steps_a_hundred_are_kept_evenly(context: Context) -> None:
    subject = ended(context, LINE, steps=1000, **FROM_AFAR, **RECORDED)

    kept = moments(subject)

    steps = [int(moment.title.split()[1].replace(",", "")) for moment in kept]
    assert len(kept) == 100
    assert (steps[0], steps[-2], steps[-1]) == (0, 999, 1000)
    assert set(np.diff(steps[:-1])) == {10, 11}


def test_a_batchs_loss_is_told_as_one(context: Context) -> None:
    subject = ended(context, LINE, steps=4, batch_size=5, record={"weights": True, "every": 2})

    titles = [moment.title for moment in moments(subject)]

    assert titles[1].startswith("After 2 steps: a batch's loss ")
    assert titles[2].startswith("After 4 steps: loss ")


def test_weights_that_were_taken_back_are_the_best_epochs(context: Context) -> None:
    wild = {"optimizer": {"kind": "sgd", "lr": 0.9, "momentum": 0.9}}
    subject = ended(
        context, NEAR_THE_LINE, steps=None, epochs=50, validation={"fraction": 0.3},
        early_stopping={"patience": 2}, **MLP, **RECORDED, **wild,
    )  # fmt: skip

    kept = moments(subject)

    assert kept[-1].title.startswith("After the best epoch: loss ")
    assert kept[-2].title.startswith(f"After {subject.n_steps - 1} steps")


def test_what_moves_is_the_curve_and_the_title_alone(context: Context) -> None:
    subject = ended(context, PARABOLA, features=["x"], steps=30, **MLP, **ADAM, **RECORDED)

    shown = drawn_frames(subject)

    moved = (shown[0] != shown[-1]).any(axis=-1)
    below_the_axes = moved[-25:]
    assert moved.mean() > 0.001
    assert not below_the_axes.any()


@pytest.mark.parametrize("animation_format", ["gif", "mp4"])
def test_the_same_fit_gives_the_same_bytes(
    context: Context, animation_format: AnimationFormat
) -> None:
    subject = ended(context, HALVES, model={"kind": "logistic"}, steps=5, **ADAM, **RECORDED)

    assert len({animate(subject, animation_format, SMALL) for _ in range(2)}) == 1


def test_a_gif_runs_for_ever_and_rests_at_its_end(context: Context) -> None:
    subject = ended(context, LINE, steps=3, **FROM_AFAR, **SGD, **RECORDED)

    with Image.open(io.BytesIO(animate(subject, "gif", SMALL))) as gif:
        assert gif.info["loop"] == 0
        assert gif.info["duration"] == 50
        gif.seek(3)
        assert gif.info["duration"] == 2000


def test_a_film_of_odd_sides_has_one_pixel_more(context: Context, tmp_path: Path) -> None:
    subject = ended(context, LINE, steps=3, **RECORDED)

    film = animate(subject, "mp4", PlotOptions(width=321, height=201))

    assert len(decoded(film, tmp_path, 322, 202)) == 4


def test_a_fit_that_diverged_moves_as_far_as_it_came(context: Context, tmp_path: Path) -> None:
    subject = ended(context, LINE, steps=3000, dtype="float64", strategy="reference", **RECORDED,
                    optimizer={"kind": "sgd", "lr": 3})  # fmt: skip

    assert moments(subject)[-1].title.endswith("no longer finite")
    assert len(decoded(animate(subject, "mp4", SMALL), tmp_path, 320, 200)) == 100
    assert len(pictures(animate(subject, "gif", SMALL))) == 100


def test_a_dark_background_stays_dark(context: Context) -> None:
    subject = ended(context, LINE, steps=3, **FROM_AFAR, **SGD, **RECORDED)

    dark = PlotOptions(width=320, height=200, theme="dark")

    assert {tuple(frame[0, 0]) for frame in pictures(animate(subject, "gif", dark))} == {(0, 0, 0)}


def test_what_ffmpeg_refuses_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho no such codec >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))

    with pytest.raises(RuntimeError, match="no such codec"):
        mp4(iter([np.zeros((1000, 1000, 4), np.uint8)] * 3))


def test_frequent_colours_are_kept_and_others_become_the_nearest() -> None:
    frame = np.zeros((100, 300, 4), np.uint8)
    frame[:50] = 255
    frame[50:, :, 0] = np.arange(300) % 256
    frame[50, :, 1] = 7

    shown = np.asarray(Palette.of(frame).image(frame).convert("RGB"))

    assert (shown[:50] == 255).all()
    off = np.abs(shown.astype(int) - frame[..., :3])
    assert off.max() <= 8
    assert (off[51:].max(axis=-1) > 0).mean() < 0.01

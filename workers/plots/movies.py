"""Frames → the bytes of an animation."""

import io
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import imageio_ffmpeg

from service.schemas.plots import AnimationFormat
from workers.plots.palette import Frame, Palette

_FRAMES_A_SECOND = 20
_LAST_MILLISECONDS = 2_000
_STOP_AFTER_SECONDS = 30


def gif(frames: Iterator[Frame]) -> bytes:
    """A GIF that begins anew for ever, in the colours of its first frame; the last one stays."""
    first = next(frames)
    palette = Palette.of(first)
    images = [palette.image(frame) for frame in chain([first], frames)]
    buffer = io.BytesIO()
    usual = [1000 // _FRAMES_A_SECOND] * (len(images) - 1)
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], loop=0,
        duration=[*usual, _LAST_MILLISECONDS],
    )  # fmt: skip
    return buffer.getvalue()


def mp4(frames: Iterator[Frame]) -> bytes:
    """H.264 as browsers play it; a side of an odd length gets one more pixel, for it must be even.

    Raises RuntimeError with what ffmpeg says where it fails.
    """
    first = next(frames)
    with tempfile.TemporaryDirectory(prefix="thalweg-") as directory:
        place = Path(directory) / "animation.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), *_options(*first.shape[:2]), str(place)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as ffmpeg:
            said = _feed(ffmpeg, chain([first], frames))
        if ffmpeg.returncode != 0:
            raise RuntimeError(f"ffmpeg failed: {said}")
        return place.read_bytes()


def _options(height: int, width: int) -> list[str]:
    """What comes in, and how it goes out: without what would differ from run to run."""
    size, rate = f"{width}x{height}", str(_FRAMES_A_SECOND)
    taken = ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", size, "-r", rate, "-i", "-"]
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]
    coded = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p"]
    fixed = ["-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    return ["-loglevel", "error", "-nostdin", *taken, *even, *coded, *fixed,
            "-movflags", "+faststart"]  # fmt: skip


def _feed(ffmpeg: "subprocess.Popen[bytes]", frames: Iterator[Frame]) -> str:
    """Send the frames; what ffmpeg says of them."""
    if ffmpeg.stdin is None:
        raise ValueError("ffmpeg has no input to feed")
    try:
        for frame in frames:
            ffmpeg.stdin.write(frame.data)
    except BrokenPipeError:
        # It has ended already, and its message says why.
        pass
    _, said = ffmpeg.communicate(timeout=_STOP_AFTER_SECONDS)
    return said.decode(errors="replace")


# One entry a format.
MOVIES: Mapping[AnimationFormat, Callable[[Iterator[Frame]], bytes]] = {"gif": gif, "mp4": mp4}

"""Frames in the few colours that a GIF has."""

from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# (height, width, 4): red, green, blue, and an alpha that is nowhere less than 255.
Frame: TypeAlias = NDArray[np.uint8]

# One of 256 colours stays free for what has not changed since the frame before.
_MOST_COLORS = 255
_ALL_COLORS = 2**24


class Palette:
    """Colours (c, 3), and the nearest of them for every colour that was met so far.

    Pillow's own search is by a coarse table: it makes a white background grey.
    """

    def __init__(self, colors: NDArray[np.uint8]) -> None:
        self._colors = colors
        self._nearest = np.zeros(_ALL_COLORS, np.uint8)
        self._known = np.zeros(_ALL_COLORS, np.bool_)

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """The most frequent colours of the frame (height, width, 4): flat ones are among them."""
        found, counts = np.unique(_packed(frame), return_counts=True)
        kept = found[np.argsort(-counts, kind="stable")[:_MOST_COLORS]]
        return cls(_unpacked(kept))

    def image(self, frame: Frame) -> Image.Image:
        """The frame with its colours replaced by the nearest ones."""
        packed = _packed(frame)
        new = np.unique(packed[~self._known[packed]])
        for color in new:
            distance = self._colors.astype(np.int64) - _unpacked(color[None]).astype(np.int64)
            self._nearest[color] = (distance**2).sum(axis=1).argmin()
        self._known[new] = True
        image = Image.fromarray(self._nearest[packed])
        image.putpalette(self._colors.tobytes())
        return image


def _packed(frame: Frame) -> NDArray[np.int32]:
    red, green, blue = (frame[..., i].astype(np.int32) for i in range(3))
    return (red << 16) | (green << 8) | blue


def _unpacked(packed: NDArray[np.int32]) -> NDArray[np.uint8]:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)

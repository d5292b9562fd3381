"""The colours of classes."""

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap, to_rgba_array
from numpy.typing import NDArray

# More classes than this have colours too alike to be named one by one.
MOST_NAMED = 20
_FEW = 10
_OF_TWO = ("#2166ac", "#b2182b")
# From the first of two classes to the second, pale enough for points of these colours.
PROBABILITIES = ListedColormap(mpl.colormaps["RdBu_r"](np.linspace(0.3, 0.7, 256)))
_PALE = 0.4


def class_colors(n_classes: int) -> NDArray[np.float64]:
    """A colour a class, (n_classes, 4) in RGBA."""
    if n_classes == len(_OF_TWO):
        return to_rgba_array(_OF_TWO)
    if n_classes > MOST_NAMED:
        return np.array(mpl.colormaps["turbo"](np.linspace(0, 1, n_classes)))
    palette = mpl.colormaps["tab10" if n_classes <= _FEW else "tab20"]
    return np.array(palette(np.arange(n_classes)))


def region_colors(n_classes: int) -> NDArray[np.float64]:
    """The colours of the regions where each class is predicted: its own on the background."""
    background = to_rgba_array(mpl.rcParams["axes.facecolor"])
    return _PALE * class_colors(n_classes) + (1 - _PALE) * background

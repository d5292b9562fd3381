"""The two precisions of a fit, as numpy's and torch's types, and weights in them."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

DType = Literal["float32", "float64"]
# By their state_dict names.
Weights = dict[str, NDArray[np.floating[Any]]]

_TORCH: dict[DType, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}
_LARGEST: dict[DType, float] = {dtype: float(np.finfo(dtype).max) for dtype in _TORCH}


def torch_dtype(dtype: DType) -> torch.dtype:
    """The torch type of this name."""
    return _TORCH[dtype]


def numpy_dtype(dtype: DType) -> np.dtype[np.floating[Any]]:
    """The numpy type of this name."""
    return np.dtype(dtype)


def largest(dtype: DType) -> float:
    """The largest finite number of the precision."""
    return _LARGEST[dtype]

"""One linear layer's first weights."""

import math

import torch
from torch import nn


def draw_layer(
    n_in: int, n_out: int, dtype: torch.dtype, generator: torch.Generator, *, bias: bool
) -> dict[str, torch.Tensor]:
    """`weight` (n_out, n_in) and `bias` (n_out,) as torch.nn.Linear.reset_parameters draws them."""
    drawn = {"weight": torch.empty((n_out, n_in), dtype=dtype)}
    nn.init.kaiming_uniform_(drawn["weight"], a=math.sqrt(5), generator=generator)
    if bias:
        drawn["bias"] = torch.empty(n_out, dtype=dtype)
        bound = 1 / math.sqrt(n_in)
        nn.init.uniform_(drawn["bias"], -bound, bound, generator=generator)
    return drawn

"""The order in which an epoch visits the rows."""

from functools import partial

import torch

from workers.engine.asides import aside_if

_MANY_ROWS = 2**22


def shuffle_seed(seed: int, epoch: int) -> int:
    """The seed of an epoch's generator: (2654435761 · seed + epoch) mod 2³².

    Knuth's multiplier keeps the epochs of neighbouring seeds far apart, and torch's CPU generator
    reads no more than 32 bits.
    """
    return (2654435761 * seed + epoch) % 2**32


def shuffle_rows(n_rows: int, seed: int, epoch: int) -> torch.Tensor:
    """The rows' order in this epoch, (n,) int64; the global generator is left alone."""
    generator = torch.Generator().manual_seed(shuffle_seed(seed, epoch))
    return aside_if(n_rows > _MANY_ROWS, partial(torch.randperm, n_rows, generator=generator))

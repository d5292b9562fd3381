"""The documented order of the rows."""

import pytest
import torch

from tests.workers.engine.given import FULL_BATCH, STRATEGIES, noisy_plane, specification
from workers.engine import fit
from workers.engine.shuffling import shuffle_rows, shuffle_seed


@pytest.mark.parametrize(
    ("seed", "epoch", "expected"),
    [(0, 0, 0), (0, 5, 5), (1, 0, 2654435761), (2, 1, 1013904227), (2**63, 2, 2)],
)
def test_the_seed_of_an_epoch(seed: int, epoch: int, expected: int) -> None:
    assert shuffle_seed(seed, epoch) == expected


def test_the_order_is_randperm_under_that_seed() -> None:
    generator = torch.Generator().manual_seed((2654435761 * 3 + 4) % 2**32)
    expected = torch.randperm(20, generator=generator)
    assert torch.equal(shuffle_rows(20, seed=3, epoch=4), expected)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_shuffle_follows_its_own_seed(strategy: str) -> None:
    def losses(**seeds: int) -> list[float]:
        seed = {"init": 1, "shuffle": 2, "split": 3} | seeds
        spec = specification(seed=seed, batch_size=7, strategy=strategy)
        return list(fit(spec, noisy_plane()).history.loss)

    # given one fit, then another shuffle seed changes it and another split seed does not
    assert losses(split=4) == losses()
    assert losses(shuffle=4) != losses()


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_a_full_batch_is_not_permuted(strategy: str) -> None:
    # given the whole set as one batch, named in three ways
    fits = [
        fit(
            specification(batch_size=size, strategy=strategy, seed=seed, init={"kind": "zeros"}),
            noisy_plane(n_rows=50),
        )
        for size, seed in ((None, 0), (50, 1), (80, 2))
    ]

    # then the bits are the same, whatever the seed
    assert len({f.history.loss.tobytes() for f in fits}) == 1

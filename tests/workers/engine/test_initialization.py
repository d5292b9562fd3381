"""Where a fit starts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.engine.given import FULL_BATCH, STRATEGIES, noisy_plane, sgd, specification
from workers.engine import Shape, SpecificationError, check, fit


@given(
    seed=st.integers(0, 2**63),
    n_features=st.integers(1, 20),
    n_targets=st.integers(1, 4),
    bias=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)
@settings(max_examples=50)
def test_default_is_what_torch_draws(
    seed: int, n_features: int, n_targets: int, bias: bool, dtype: str
) -> None:
    # given a linear layer made under a seed
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = torch.nn.Linear(n_features, n_targets, bias, dtype=getattr(torch, dtype))

    # when a fit starts from that seed
    spec = specification(seed=seed, dtype=dtype, model={"kind": "linear", "bias": bias}, steps=1)
    initial = fit(spec, noisy_plane(5, n_features, n_targets)).initial_weights

    # then it starts from the layer's bits
    assert list(initial) == list(layer.state_dict())
    for name, tensor in layer.state_dict().items():
        np.testing.assert_array_equal(initial[name], tensor.numpy())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_global_generator_is_left_alone(strategy: str) -> None:
    before = torch.random.get_rng_state()
    fit(specification(batch_size=7, strategy=strategy), noisy_plane())
    assert torch.equal(before, torch.random.get_rng_state())


def test_zeros() -> None:
    initial = fit(specification(init={"kind": "zeros"}), noisy_plane(9, 2, 2)).initial_weights
    np.testing.assert_array_equal(initial["weight"], np.zeros((2, 2)))
    np.testing.assert_array_equal(initial["bias"], np.zeros(2))


@pytest.mark.parametrize("strategy", FULL_BATCH)
def test_given_weights_are_taken_in_the_models_order(strategy: str) -> None:
    # given weights, the bias first
    init = {"weights": {"bias": [7], "weight": [[1, 2, 3]]}}

    # when no update changes them
    result = fit(
        specification(init=init, optimizer=sgd(lr=0.0), steps=1, strategy=strategy), noisy_plane()
    )

    # then they come back under their names
    assert {name: w.tolist() for name, w in result.weights.items()} == {
        "weight": [[1.0, 2.0, 3.0]],
        "bias": [7.0],
    }


@pytest.mark.parametrize(
    ("weights", "pointer", "detail"),
    [
        ({"weight": [[1, 2]], "bias": [0]}, "/init/weights/weight", "(1, 3) is expected"),
        ({"weight": [[1, 2, 3]], "bias": [[0]]}, "/init/weights/bias", "(1,) is expected"),
        ({"weight": [[1, 2, 3]]}, "/init/weights", "'bias' of shape (1,) is missing"),
        ({"weight": [[1, 2, 3]], "bias": [0], "a/b": [1]}, "/init/weights/a~1b", "no 'a/b'"),
        ({"weight": [[1, 2, 1e39]], "bias": [0]}, "/init/weights/weight", "no float32 can hold"),
    ],
)
def test_given_weights_that_do_not_fit(
    weights: dict[str, object], pointer: str, detail: str
) -> None:
    # given weights that the model cannot take
    spec = specification(init={"weights": weights}, dtype="float32")

    # then the check before queueing says which, and what was expected
    with pytest.raises(SpecificationError) as caught:
        check(spec, Shape(n_rows=10, n_features=3, n_targets=1))
    assert caught.value.pointer == pointer
    assert detail in caught.value.detail


def test_ragged_weights_are_refused() -> None:
    with pytest.raises(SpecificationError, match="one length"):
        specification(init={"weights": {"weight": [[1, 2], [3]], "bias": [0]}})

"""A command line's options as a fit's body."""

from typing import Any

import pytest

from service.client.http import Refused
from service.client.specs import grid, listed, merged, numbers, parsed, space


def test_dotted_options_become_a_body_and_settings_win() -> None:
    body = merged(
        {"target": "y", "optimizer.lr": 0.1, "model.kind": None, "epochs": 5},
        ["optimizer.kind=adam", "optimizer.lr=0.2", 'tags=["a"]', "model.hidden=[4, 4]"],
    )

    assert body == {
        "target": "y",
        "optimizer": {"lr": 0.2, "kind": "adam"},
        "epochs": 5,
        "tags": ["a"],
        "model": {"hidden": [4, 4]},
    }


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("1e-3", 1e-3), ("true", True), ("adam", "adam"), ("[1]", [1])]
)
def test_values_are_json_where_they_are(text: str, value: Any) -> None:
    assert parsed(text) == value


def test_axes_and_draws() -> None:
    assert grid(["optimizer.lr=0.1,0.01", "seed=1"]) == {"optimizer.lr": [0.1, 0.01], "seed": [1]}
    assert space(["optimizer.lr=log_uniform:1e-4:1", "seed=1,2"]) == {
        "optimizer.lr": {"log_uniform": [1e-4, 1]},
        "seed": [1, 2],
    }
    assert listed("a, b") == ["a", "b"]
    assert numbers("16,8") == [16, 8]


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (lambda text: merged({}, [text]), "optimizer.lr"),
        (lambda text: merged({"optimizer": 1}, [text]), "optimizer.lr=1"),
        (lambda text: grid([text]), "seed="),
        (lambda text: space([text]), "seed"),
        (numbers, "a,b"),
    ],
)
def test_what_cannot_be_read_is_refused(make: Any, given: str) -> None:
    with pytest.raises(Refused):
        make(given)

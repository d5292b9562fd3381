"""A batch's request → the bodies of its fits, and where its mistakes stand."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidInput, Place
from service.schemas.batches import BatchRequest
from service.spec_paths import parts_of, put, value_at
from service.sweeps import Bodies, bodies_of, read_lines

BASE: dict[str, Any] = {"dataset": "ds_1", "target": "y", "steps": 5}


def bodies(**request: Any) -> Bodies:
    return bodies_of(BatchRequest.model_validate({"base": BASE} | request))


def drawn(space: Any, n: int = 2_000, seed: int = 0, **beside: Any) -> list[Any]:
    """The values of one path of a random sweep."""
    sweep = {"n": n, "seed": seed, "space": {"steps": space, **beside}}
    return [body["steps"] for body in bodies(random=sweep)]


def test_a_grid_has_every_combination_the_last_path_fastest() -> None:
    grid: dict[str, list[Any]] = {"optimizer.lr": [0.1, 0.2], "seed": [1, 2, 3], "dtype": ["f"]}

    found = [(body["optimizer"]["lr"], body["seed"], body["dtype"]) for body in bodies(grid=grid)]

    assert found == [*itertools.product(*(grid[name] for name in grid))]


def test_a_sweep_leaves_its_base_and_its_other_fits_alone() -> None:
    base = BASE | {"optimizer": {"kind": "adam", "betas": [0.9, 0.99]}}
    request = BatchRequest.model_validate({"base": base, "grid": {"optimizer.betas.1": [0.5, 0.6]}})

    first, second = bodies_of(request)

    assert (first["optimizer"]["betas"], second["optimizer"]["betas"]) == ([0.9, 0.5], [0.9, 0.6])
    assert request.base == base


def test_a_path_into_what_the_base_leaves_out_finds_the_default_kind() -> None:
    (body,) = bodies(grid={"optimizer.lr": [0.1], "record.every": [2], "model.degree": [3]})

    assert body["optimizer"] == {"kind": "sgd", "lr": 0.1}
    assert body["record"] == {"every": 2}
    assert body["model"] == {"kind": "linear", "degree": 3}


@pytest.mark.parametrize(
    ("changes", "where", "code"),
    [
        ({"grid": {"target.x": [1]}}, "/grid/target.x", "unknown_field"),
        ({"random": {"n": 1, "space": {"steps.n": [1]}}}, "/random/space/steps.n", "unknown_field"),
        (
            {"grid": {"optimizer.lr": [1], "optimizer": [{"kind": "sgd"}]}},
            "/grid/optimizer.lr",
            "overlapping_paths",
        ),
        ({"grid": {"seed": [*range(101)], "epochs": [*range(100)]}}, "/grid", "too_many_fits"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_told_with_its_place(
    changes: dict[str, Any], where: str, code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        bodies(**changes)

    assert [(place.pointer, place.code) for place in refused.value.places] == [(where, code)]


def test_the_count_of_a_grid_that_is_too_large_is_named() -> None:
    with pytest.raises(InvalidInput, match="the grid has 10100 fits"):
        bodies(grid={"seed": [*range(101)], "epochs": [*range(100)]})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Place("bad", "", "/optimizer/lr"), "/grid/optimizer.lr/1"),
        (Place("unknown_field", "", "/optimizer/lr"), "/grid/optimizer.lr"),
        (Place("bad", "", "/optimizer"), "/grid/optimizer.lr/1"),
        (Place("bad", "", "/init/weights/weight/0/2"), "/grid/init.weights/0/weight/0/2"),
        (Place("bad", "", "/target"), "/base/target"),
        (Place("bad", "", None), "/base"),
    ],
)
def test_places_in_a_body_are_places_in_the_request(found: Place, expected: str) -> None:
    grid = {"optimizer.lr": [0.1, 0.2], "init.weights": [{}, {}, {}]}

    assert bodies(grid=grid).placed(3, found).pointer == expected


def test_places_in_listed_bodies_and_in_lines() -> None:
    place = Place("bad", "", "/optimizer/lr")
    listed = bodies_of(BatchRequest.model_validate({"fits": [BASE, BASE]}))
    lines = read_lines(b'{"a": 1}\n\n  \n{"a": 2}')

    assert listed.placed(1, place).pointer == "/fits/1/optimizer/lr"
    assert [*lines] == [{"a": 1}, {"a": 2}]
    assert (lines.placed(1, place).row, lines.placed(1, place).pointer) == (1, "/optimizer/lr")


@pytest.mark.parametrize(
    ("content", "row"), [(b"{}\n{", 1), (b" \n", None), (b"{}\n" * 10_001, 10_000)]
)
def test_lines_that_are_no_batch(content: bytes, row: int | None) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_lines(content)

    assert refused.value.places[0].row == row


def test_draws_follow_their_distributions() -> None:
    rates = np.array(drawn({"log_uniform": [1e-4, 1]}))
    assert 1e-4 <= rates.min() < 2e-4
    assert 0.5 < rates.max() <= 1
    assert abs(np.log10(rates).mean() + 2) < 0.1
    wide = np.array(drawn({"uniform": [-1, 3]}))
    assert (wide.min() >= -1, wide.max() <= 3, abs(wide.mean() - 1) < 0.1) == (True, True, True)
    bell = np.array(drawn({"normal": [5, 2]}))
    assert abs(bell.mean() - 5) < 0.2
    assert abs(bell.std() - 2) < 0.2
    assert set(drawn({"integers": [3, 5]})) == {3, 4, 5}
    assert all(isinstance(value, int) for value in drawn({"integers": [3, 5]}))
    assert set(drawn({"choice": ["a", None]})) == set(drawn(["a", None])) == {"a", None}
    assert set(drawn({"log_uniform": [2, 2]})) == {2.0}


def test_draws_are_the_same_everywhere_and_each_path_has_its_own() -> None:
    space = {"log_uniform": [1e-4, 1]}

    assert [value.hex() for value in drawn(space, 2)] == [
        "0x1.4896733ff2c1ap-9",
        "0x1.0cfe9492d8e7ap-4",
    ]
    assert drawn(space, 5) == drawn(space, 9)[:5] == drawn(space, 5, seed=0, seed_=[1])
    assert drawn(space, 5) != drawn(space, 5, seed=1)


keys = st.text("ab.", min_size=1, max_size=3).filter(lambda key: key.strip("."))
trees = st.recursive(
    st.integers(), lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3), max_leaves=6
)


@given(tree=st.dictionaries(keys, trees, min_size=1, max_size=3), path=keys, value=st.integers())
def test_what_is_put_somewhere_is_found_there(tree: dict[str, Any], path: str, value: int) -> None:
    parts = parts_of(tree, path)
    if parts is None:
        return
    changed = dict(tree)

    put(changed, parts, value)

    assert value_at(changed, path) == value

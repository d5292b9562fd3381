"""How columns become features, against scikit-learn's."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.preprocessing import PolynomialFeatures

from service.tables.encoding import Encoding, Feature, encode, has_more_terms, terms
from tests.service.test_resolution import category, number

COLUMNS = [number("x"), number("z"), number("u")]


def polynomial(degree: int, *, interactions: bool = True) -> dict[str, object]:
    return {"kind": "polynomial", "degree": degree, "interactions": interactions}


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_terms_are_scikit_learns(degree: int) -> None:
    rows = np.random.default_rng(0).normal(size=(7, 3))
    block = pa.record_batch(list(rows.T), names=["x", "z", "u"])
    made = encode(["x", "z", "u"], COLUMNS, polynomial(degree))

    theirs = PolynomialFeatures(degree, include_bias=False).fit(rows)

    names = [name.replace(" ", "*") for name in theirs.get_feature_names_out(["x", "z", "u"])]
    assert made.labels == names
    assert len(made) == len(names)
    np.testing.assert_allclose(made.matrix(block), theirs.transform(rows), rtol=1e-14)


def test_without_interactions_there_are_powers_alone() -> None:
    made = encode(["x", "z"], COLUMNS, polynomial(3, interactions=False))

    assert made.labels == ["x", "z", "x^2", "z^2", "x^3", "z^3"]


def test_an_indicator_is_multiplied_with_others_alone() -> None:
    columns = [number("x"), category("c", "a", "b")]
    block = pa.record_batch([[2.0, 3.0], ["b", "a"]], names=["x", "c"])
    made = encode(["c", "x"], columns, polynomial(2))

    assert made.labels == ["c=a", "c=b", "x", "c=a*x", "c=b*x", "x^2"]
    assert made.matrix(block).tolist() == [[0, 1, 2, 0, 2, 4], [1, 0, 3, 3, 0, 9]]
    assert made.columns == ["c", "x"]


def test_another_models_features_are_the_columns() -> None:
    made = encode(["x", "z"], COLUMNS, {"kind": "linear"})

    assert made == Encoding((Feature("x"), Feature("z")))
    assert made.labels == ["x", "z"]


@pytest.mark.parametrize("letters", ["a", "ab"])
def test_terms_that_cannot_be_are_not_tried(letters: str) -> None:
    texts = [f"{i:03}" for i in range(1000)]
    features = [Feature(letter, text) for letter in letters for text in texts]
    expected = 1000 if letters == "a" else 2000 + 1000 * 1000

    # To try all products of a column's own indicators would take for ever.
    assert sum(1 for _ in terms(features, 100, interactions=True)) == expected


def test_terms_are_counted_no_further_than_needed() -> None:
    features = [Feature(str(i)) for i in range(1000)]

    assert has_more_terms(features, 100, 10_000, interactions=True)
    assert has_more_terms(features, 1, 999, interactions=True)
    assert not has_more_terms(features, 1, 1000, interactions=True)

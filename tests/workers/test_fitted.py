"""A fit that has ended, as a model of new rows: against scikit-learn with the same weights."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from service.context import Context
from service.errors import NotFound
from service.schemas.datasets import DatasetRequest
from tests.service.test_lifecycle import submit
from tests.workers.test_runner import run
from workers.engine import answers, probabilities
from workers.fitted import Fitted

RNG = np.random.default_rng(0)
N_ROWS = 50
X = RNG.normal([10, -2, 0.1], [3, 1, 0.01], size=(N_ROWS, 3))
COLOUR = RNG.choice(["red", "green", "blue"], N_ROWS)
COLUMNS: dict[str, list[Any]] = {
    "a": X[:, 0].tolist(), "b": X[:, 1].tolist(), "c": X[:, 2].tolist(),
    "colour": COLOUR.tolist(), "y": (X @ [1, 2, 30] + RNG.normal(size=N_ROWS)).tolist(),
    "sign": np.where(X[:, 1] > -2, "up", "down").tolist(),
    "third": RNG.integers(1, 4, N_ROWS).tolist(),
}  # fmt: skip
TABLE = DatasetRequest(columns=COLUMNS)
NEW = RNG.normal([10, -2, 0.1], [3, 1, 0.01], size=(7, 3))
NEW_COLOUR = RNG.choice(["red", "green", "blue"], 7)
BLOCK = pa.record_batch(
    {"colour": NEW_COLOUR, "b": NEW[:, 1], "c": NEW[:, 2], "a": NEW[:, 0]}  # in another order
)
PLAIN: dict[str, Any] = {
    "features": ["a", "b", "c"], "standardize": True, "steps": 30, "dtype": "float64",
    "optimizer": {"kind": "adam", "lr": 0.1},
}  # fmt: skip


def fitted(context: Context, **changes: Any) -> Fitted:
    fit = run(context, submit(context, TABLE, **PLAIN | changes))
    assert fit["status"] == "succeeded", fit["error"]
    return Fitted.load(context, fit["id"])


def with_weights(model: Any, found: Fitted) -> Any:
    """scikit-learn's estimator with the fitted weights in place of its own."""
    model.coef_, model.intercept_ = found.weights["weight"], found.weights["bias"]
    return model


def test_scaled_features_are_scikit_learns(context: Context) -> None:
    found = fitted(context)

    scaler = StandardScaler().fit(X)
    expected = with_weights(LinearRegression(), found).predict(scaler.transform(NEW))
    np.testing.assert_allclose(found.features(BLOCK), scaler.transform(NEW), rtol=1e-12)
    np.testing.assert_allclose(found.outputs(BLOCK), expected, rtol=1e-12)
    assert found.classes is None
    assert found.feature_columns == ["a", "b", "c"]


def test_a_polynomials_terms_are_scikit_learns(context: Context) -> None:
    found = fitted(context, model={"kind": "polynomial", "degree": 3})

    terms = make_pipeline(PolynomialFeatures(3, include_bias=False), StandardScaler()).fit(X)
    expected = with_weights(LinearRegression(), found).predict(terms.transform(NEW))
    np.testing.assert_allclose(found.outputs(BLOCK), expected, rtol=1e-9)


def test_categories_are_encoded_as_the_fit_encoded_them(context: Context) -> None:
    found = fitted(context, features=["a", "colour"], standardize=False)

    encoder = OneHotEncoder(sparse_output=False).fit(COLOUR[:, None])
    design = np.column_stack([NEW[:, 0], encoder.transform(NEW_COLOUR[:, None])])
    np.testing.assert_array_equal(found.features(BLOCK), design)
    only_red = BLOCK.filter(pa.array(NEW_COLOUR == "red"))
    np.testing.assert_array_equal(found.features(only_red), design[NEW_COLOUR == "red"])


@pytest.mark.parametrize(
    ("target", "kind", "classes"),
    [("sign", "logistic", ["down", "up"]), ("third", "softmax", [1, 2, 3])],
)
def test_probabilities_are_scikit_learns(
    context: Context, target: str, kind: str, classes: list[Any]
) -> None:
    found = fitted(context, target=target, model={"kind": kind})

    model = with_weights(LogisticRegression(), found)
    model.classes_ = np.array(classes)
    rows = StandardScaler().fit(X).transform(NEW)
    outputs = found.outputs(BLOCK)
    likely = probabilities(found.spec.loss, outputs)
    places = answers(found.spec.loss, outputs)[:, 0].astype(int)
    assert found.classes == classes
    assert likely is not None
    np.testing.assert_allclose(likely, model.predict_proba(rows), rtol=1e-9)
    assert [classes[i] for i in places] == model.predict(rows).tolist()


def test_a_network_is_evaluated_without_dropout(context: Context) -> None:
    model = {"kind": "mlp", "hidden": [5], "dropout": 0.5, "batch_norm": True}
    found = fitted(context, model=model)

    w = found.weights
    rows = StandardScaler().fit(X).transform(NEW)
    hidden = rows @ w["layers.0.weight"].T + w["layers.0.bias"]
    hidden = (hidden - w["norms.0.running_mean"]) / np.sqrt(w["norms.0.running_var"] + 1e-5)
    hidden = np.maximum(hidden * w["norms.0.weight"] + w["norms.0.bias"], 0)
    expected = hidden @ w["layers.1.weight"].T + w["layers.1.bias"]
    np.testing.assert_allclose(found.outputs(BLOCK), expected, rtol=1e-9)


def test_other_weights_can_be_looked_at(context: Context) -> None:
    found = fitted(context, standardize=False)
    weights = {"weight": np.array([[1.0, 0, 0]]), "bias": np.array([5.0])}

    np.testing.assert_allclose(found.outputs(BLOCK, weights)[:, 0], NEW[:, 0] + 5)


def test_a_fit_without_weights_is_not_found(context: Context) -> None:
    waiting = submit(context, TABLE, **PLAIN)

    with pytest.raises(NotFound):
        Fitted.load(context, waiting["id"])

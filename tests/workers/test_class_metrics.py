"""Metrics of classes, gathered block by block, are scikit-learn's."""

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics

from workers.class_metrics import ClassMetrics


def measured(
    true: np.ndarray, outputs: np.ndarray, n_classes: int, *, probable: bool = True
) -> dict[str, Any]:
    gathered = ClassMetrics(n_classes, probable=probable)
    for first in range(0, len(true), 7):
        gathered.add(true[first : first + 7, None].astype(float), outputs[first : first + 7])
    return gathered.result()


def drawn(n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n_classes)
    true = rng.integers(0, n_classes, 100)
    outputs = rng.normal(size=(100, 1 if n_classes == 2 else n_classes))
    return true, outputs + (true[:, None] == np.arange(outputs.shape[1]) + (n_classes == 2))


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_metrics_are_scikit_learns(n_classes: int) -> None:
    true, outputs = drawn(n_classes)
    two = n_classes == 2
    scores = np.column_stack([0 * outputs, outputs]) if two else outputs
    probability = softmax(scores, axis=1)
    predicted = scores.argmax(axis=1)
    average = "binary" if two else "macro"
    ranked = probability[:, 1] if two else probability

    assert measured(true, outputs, n_classes) == {
        "accuracy": pytest.approx(metrics.accuracy_score(true, predicted)),
        "log_loss": pytest.approx(metrics.log_loss(true, probability)),
        "precision": pytest.approx(metrics.precision_score(true, predicted, average=average)),
        "recall": pytest.approx(metrics.recall_score(true, predicted, average=average)),
        "f1": pytest.approx(metrics.f1_score(true, predicted, average=average)),
        "roc_auc": pytest.approx(metrics.roc_auc_score(true, ranked, multi_class="ovr")),
        "confusion_matrix": metrics.confusion_matrix(true, predicted).tolist(),
    }


def test_a_class_that_is_never_predicted_has_a_precision_of_0() -> None:
    found = measured(np.array([0, 1, 0]), np.full((3, 1), -1.0), 2)

    assert (found["precision"], found["recall"], found["f1"]) == (0, 0, 0)


def test_what_cannot_be_told_is_none() -> None:
    true, outputs = drawn(2)

    assert measured(true, outputs, 2, probable=False)["log_loss"] is None
    assert measured(0 * true, outputs, 2)["roc_auc"] is None
    assert measured(true, np.inf * outputs, 2)["roc_auc"] is None

"""How good predicted classes are, by scikit-learn's definitions, block by block."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.metrics import roc_auc_score

Floats = NDArray[np.float64]

# Scores are kept for the area under the curve: more than this many would be too many to keep.
_MOST_SCORES = 20_000_000


class ClassMetrics:
    """accuracy, log_loss, precision, recall, f1, roc_auc, confusion_matrix.

    Of two classes precision, recall and f1 are those of the second one; of more they are the
    means over the classes, and roc_auc that of each class against the rest. `probable` says that
    the outputs are log odds or scores of which softmax makes probabilities; else there is no
    log_loss. The confusion matrix has a row a true class.
    """

    def __init__(self, n_classes: int, *, probable: bool) -> None:
        self._n_classes = n_classes
        self._probable = probable
        self._confusion = np.zeros((n_classes, n_classes), np.int64)
        self._log_loss = 0.0
        self._true: list[NDArray[np.int64]] = []
        self._scores: list[Floats] = []

    def add(self, true: Floats, outputs: Floats) -> None:
        """Take the next rows in: classes (m, 1) as 0, 1, …, outputs (m, 1) or (m, c)."""
        classes = true[:, 0].astype(np.int64)
        scores = outputs
        if outputs.shape[1] == 1:
            # Two classes are told apart by one number: the first one's score is 0.
            scores = np.column_stack([np.zeros_like(outputs), outputs])
        np.add.at(self._confusion, (classes, scores.argmax(axis=1)), 1)
        if self._probable:
            with np.errstate(over="ignore", invalid="ignore"):
                likely = log_softmax(scores, axis=1)[range(len(scores)), classes]
            self._log_loss -= float(likely.sum())
        if self._n_classes * int(self._confusion.sum()) <= _MOST_SCORES:
            self._true.append(classes)
            self._scores.append(scores)

    def result(self) -> dict[str, Any]:
        """The metrics of all rows, at least one; what cannot be told is None."""
        n_rows = int(self._confusion.sum())
        hits = np.diag(self._confusion).astype(np.float64)
        predicted, true = self._confusion.sum(axis=0), self._confusion.sum(axis=1)
        precision = _ratio(hits, predicted)
        recall = _ratio(hits, true)
        f1 = _ratio(2 * hits, predicted + true)
        return {
            "accuracy": float(hits.sum() / n_rows),
            "log_loss": self._log_loss / n_rows if self._probable else None,
            "precision": self._of_classes(precision),
            "recall": self._of_classes(recall),
            "f1": self._of_classes(f1),
            "roc_auc": self._roc_auc(n_rows),
            "confusion_matrix": self._confusion.tolist(),
        }

    def _of_classes(self, values: Floats) -> float:
        return float(values[1] if self._n_classes == 2 else values.mean())  # noqa: PLR2004

    def _roc_auc(self, n_rows: int) -> float | None:
        kept = sum(map(len, self._true))
        if kept < n_rows:
            return None
        true, scores = np.concatenate(self._true), np.concatenate(self._scores)
        if len(np.unique(true)) < self._n_classes or not np.isfinite(scores).all():
            return None
        if self._n_classes == 2:  # noqa: PLR2004
            return float(roc_auc_score(true, scores[:, 1] - scores[:, 0]))
        return float(roc_auc_score(true, softmax(scores, axis=1), multi_class="ovr"))


def _ratio(part: Floats, whole: NDArray[Any]) -> Floats:
    """Of nothing the ratio is 0, as scikit-learn's `zero_division` has it."""
    ratio: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
    return ratio

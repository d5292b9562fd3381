"""scikit-learn's own descents: they shuffle by themselves, and keep no loss of a step."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDRegressor
from sklearn.neural_network import MLPClassifier

from tests.benchmarks.peers.answering import Ready, answer_requests
from tests.benchmarks.peers.figures import Fitted
from tests.benchmarks.workloads import Job


def prepare(jobs: list[Job]) -> Ready[Any]:
    """The estimator that does the job's work."""
    (job,) = jobs
    # It would tell that a descent of so few epochs has not converged, which is what was asked for.
    warnings.simplefilter("ignore", ConvergenceWarning)
    return _linear(job) if job.n_classes is None else _classifier(job)


def _linear(job: Job) -> Ready[SGDRegressor]:
    """Each row is an update, so small that a batch of them moves as far as the engine's step."""
    y = job.y[:, 0]
    weight, bias = job.init.values()

    def run() -> SGDRegressor:
        model = SGDRegressor(
            penalty=None,
            learning_rate="constant",
            eta0=2 * job.spec["optimizer"]["lr"] / job.spec["batch_size"],
            max_iter=job.spec["epochs"],
            tol=None,
            random_state=0,
        )
        return model.fit(job.x, y, coef_init=weight[0], intercept_init=bias)

    return Ready(run, lambda model: _read([model.coef_, model.intercept_]))


def _classifier(job: Job) -> Ready[MLPClassifier]:
    x, y = job.x.astype(job.spec["dtype"]), job.y[:, 0].astype(int)

    def run() -> MLPClassifier:
        model = MLPClassifier(
            hidden_layer_sizes=job.spec["model"]["hidden"],
            activation=job.spec["model"]["activation"],
            solver="adam",
            alpha=0.0,
            batch_size=job.spec["batch_size"],
            learning_rate_init=job.spec["optimizer"]["lr"],
            max_iter=job.spec["epochs"],
            n_iter_no_change=job.spec["epochs"],
            random_state=0,
        )
        return model.fit(x, y)

    return Ready(run, lambda model: _read(_layer_by_layer(model)))


def _layer_by_layer(model: MLPClassifier) -> list[Any]:
    pairs = zip(model.coefs_, model.intercepts_, strict=True)
    return [array for weight, bias in pairs for array in (weight.T, bias)]


def _read(arrays: list[Any]) -> Fitted:
    weights = np.concatenate([array.ravel() for array in arrays])[None]
    return Fitted(weights=weights, losses=None, strategies=[])


if __name__ == "__main__":
    answer_requests(prepare, ("scikit-learn",))

"""Whatever the request, a fit's script gives the weights of the engine's plain loop."""

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.reproduction.model import ACTIVATIONS, OUTPUTS
from service.reproduction.rule import OPTIMIZERS, SCHEDULES
from tests.service.reproducing import (
    MIXED,
    NUMBERS,
    RATE,
    REQUIRED,
    Dataset,
    assert_reproduced,
    made_dataset,
)
from workers.engine import (
    SpecificationError,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """One for all of these tests."""
    return made_dataset(tmp_path_factory.mktemp("csv"))


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def kind(name: str, **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A tagged union's member, its arguments drawn or left out."""
    return st.fixed_dictionaries({"kind": st.just(name)}, optional=optional)


BOOL = st.booleans()
ONE_LAYER = (
    kind("linear", bias=BOOL)
    | st.builds(lambda d, i, b: {"kind": "polynomial", "degree": d, "interactions": i, "bias": b},
                one_of(1, 2, 3), BOOL, BOOL)
)  # fmt: skip
MLP = st.builds(
    lambda more, hidden: more | {"hidden": hidden},
    kind(
        "mlp", activation=one_of(*ACTIVATIONS), dropout=one_of(0.0, 0.3),
        batch_norm=BOOL, output=one_of(*OUTPUTS),
    ),
    one_of([], [5], [4, 3]),
)  # fmt: skip
OF_NUMBERS = (
    kind("mse")
    | kind("mae")
    | kind("huber", delta=one_of(0.4))
    | kind("smooth_l1", beta=one_of(0.0, 0.4))
    | kind("quantile", q=one_of(0.2))
)
BCE = kind("bce", pos_weight=one_of(2.5))
ENTROPY = kind("cross_entropy", label_smoothing=one_of(0.2), class_weight=one_of([1.0, 0.0, 2.0]))
TWO = one_of("answer", "half")


def fitted(model: Any, loss: Any, target: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"model": model, "loss": loss, "target": target})


PROBLEMS = (
    fitted(ONE_LAYER | MLP, OF_NUMBERS, one_of("y", ["y", "y2"]))
    | fitted(ONE_LAYER | MLP, kind("poisson"), one_of("count"))
    | fitted(ONE_LAYER | MLP, kind("hinge"), TWO)
    | fitted(kind("logistic", bias=BOOL) | MLP, BCE, TWO)
    | fitted(kind("softmax", bias=BOOL) | MLP, ENTROPY, one_of("letter"))
)
OPTIMIZER = (
    kind("sgd", lr=one_of(0.01), momentum=one_of(0.9), weight_decay=one_of(0.1))
    | one_of({"kind": "sgd", "momentum": 0.5, "nesterov": True}, RATE)
    | one_of(*OPTIMIZERS).map(lambda name: {"kind": name})
    | kind("adamw", betas=one_of([0.8, 0.9]), amsgrad=BOOL)
    | kind("lbfgs", max_iter=one_of(3), line_search_fn=one_of("strong_wolfe"))
    | kind("rprop", etas=one_of([0.4, 1.3]), step_sizes=one_of([1e-4, 1.0]))
)
SCHEDULE = st.builds(
    lambda name, interval: {"kind": name, "interval": interval} | REQUIRED.get(name, {}),
    one_of(*SCHEDULES),
    one_of("step", "epoch"),
)
INIT = one_of("default", "zeros", "uniform", "normal", "xavier_uniform", "xavier_normal",
              "kaiming_uniform", "kaiming_normal", "orthogonal").map(
                  lambda name: {"kind": name})  # fmt: skip
INIT |= kind("kaiming_normal", a=one_of(0.2), mode=one_of("fan_out"), nonlinearity=one_of("tanh"))
STOPPING = st.fixed_dictionaries(
    {"monitor": one_of("train_loss", "validation_loss"), "patience": one_of(1, 2)},
    optional={"min_delta": one_of(0.01), "restore_best": BOOL},
)
REQUESTS = st.builds(
    lambda *parts: {name: value for part in parts for name, value in part.items()},
    PROBLEMS,
    st.fixed_dictionaries({"optimizer": OPTIMIZER, "features": one_of(NUMBERS, MIXED)}),
    st.fixed_dictionaries({"epochs": one_of(1, 4)}) | st.fixed_dictionaries({"steps": one_of(7)}),
    st.fixed_dictionaries(
        {},
        optional={
            "sample_weight": st.just("weight"),
            "penalty": one_of({"l1": 0.02}, {"l2": 0.1}, {"l1": 0.01, "l2": 0.03}),
            "scheduler": SCHEDULE,
            "standardize": BOOL,
            "tolerance": one_of(1e-9, 0.3),
            "clip_grad_norm": one_of(0.5),
            "validation": st.fixed_dictionaries({"fraction": one_of(0.2, 0.35), "stratify": BOOL}),
            "early_stopping": STOPPING,
            "batch_size": one_of(2, 7, 16, 26, 30, 100),
            "shuffle": BOOL,
            "drop_last": BOOL,
            "init": INIT,
            "seed": one_of(3, {"init": 1, "shuffle": 2, "split": 3}, 2**40),
        },
    ),
)


@given(request=REQUESTS)
@settings(max_examples=100, suppress_health_check=[*HealthCheck])
def test_any_fit_is_reproduced(
    request: dict[str, Any], dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        spec = dataset.spec(**request, dtype="float64")
        assert_reproduced(dataset, spec, tmp_path_factory.mktemp("script"))
    except (InvalidInput, SpecificationError, ZeroDivisionError):
        # A stratified split may leave fewer rows than a batch has; torch's own line search
        # divides by a step that has become 0.
        assume(False)

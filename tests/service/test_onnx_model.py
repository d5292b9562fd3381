"""The ONNX file of a model gives the engine's numbers in onnxruntime."""

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from service.onnx_model import ACTIVATIONS, IR_VERSION, OPSET, OUTPUTS, onnx_model
from service.suitability import OF_CLASSES
from tests.workers.engine.given import mapping, specification
from workers.engine import Scaling, Shape, networks, predict

Arrays = dict[str, NDArray[Any]]

DTYPES = ("float32", "float64")
LABELS = ["x", "colour=red", "x^2"]
# What two ways to the same number may differ by.
ROUNDING = {"float32": 1e-5, "float64": 1e-12}
MLP = {
    "kind": "mlp", "hidden": [8, 5], "activation": "tanh", "dropout": 0.3,
    "batch_norm": False, "output": "auto",
}  # fmt: skip


def one_layer(kind: str, *, bias: bool = True) -> dict[str, Any]:
    terms = {"degree": 2, "interactions": True} if kind == "polynomial" else {}
    return {"kind": kind, "bias": bias} | terms


class Fitted:
    """A model with drawn weights, the spec that it was fitted by, and rows of the data's units."""

    def __init__(
        self,
        model: dict[str, Any],
        loss: str = "mse",
        dtype: str = "float64",
        n_outputs: int = 1,
        standardization: dict[str, list[float]] | None = None,
    ) -> None:
        rng = np.random.default_rng(4)
        self.spec = mapping(model=model, loss={"kind": loss}, dtype=dtype)
        scores = n_outputs if loss == "cross_entropy" else None
        self.shape = Shape(40, len(LABELS), n_outputs, n_classes=scores)
        self.model = specification(model=model).model
        self.weights: Arrays = {
            name: (rng.uniform(0.1, 2, shape) if "var" in name else rng.normal(size=shape)).astype(
                dtype
            )
            for name, shape in self.model.weight_shapes(self.shape).items()
        }
        self.standardization = standardization
        self.x = rng.normal(size=(40, len(LABELS)), scale=2).astype(dtype)
        if standardization is not None:
            own = self.x * standardization["std"] + standardization["mean"]
            self.x = own.astype(dtype)

    def file(self, classes: list[str | int | float] | None = None) -> bytes:
        return onnx_model(self.spec, self.weights, LABELS, self.standardization, classes)

    def run(self) -> Arrays:
        return run(self.file(), self.x)

    def expected(self) -> NDArray[np.float64]:
        """The engine's outputs."""
        x = self.x.astype(np.float64)
        if self.standardization is not None:
            x = Scaling(**{k: np.array(v) for k, v in self.standardization.items()}).scale(x)
        return predict(self.model, self.shape, self.weights, x)

    def assert_close(self, given: NDArray[Any], expected: NDArray[Any]) -> None:
        assert given.dtype == self.spec["dtype"]
        rounding = ROUNDING[self.spec["dtype"]]
        np.testing.assert_allclose(given, expected, rtol=rounding, atol=rounding)


def run(file: bytes, x: NDArray[Any]) -> Arrays:
    """What onnxruntime makes of rows (N, d), by name."""
    onnx.checker.check_model(onnx.load_from_string(file), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"features": x}), strict=True))


def test_every_activation_and_output_has_its_operators() -> None:
    assert list(ACTIVATIONS) == list(networks.ACTIVATIONS)
    assert list(OUTPUTS) == list(networks.OUTPUTS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "loss", "n_outputs"),
    [
        ("linear", "mse", 1),
        ("linear", "huber", 2),
        ("linear", "hinge", 1),
        ("polynomial", "mse", 2),
        ("polynomial", "poisson", 1),
        ("logistic", "bce", 1),
        ("softmax", "cross_entropy", 3),
    ],
)
def test_a_model_of_one_layer(kind: str, loss: str, n_outputs: int, bias: bool, dtype: str) -> None:
    fitted = Fitted(one_layer(kind, bias=bias), loss, dtype, n_outputs)

    fitted.assert_close(fitted.run()["outputs"], fitted.expected())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_a_network(activation: str, batch_norm: bool, dtype: str) -> None:
    model = MLP | {"activation": activation, "batch_norm": batch_norm}
    fitted = Fitted(model, dtype=dtype, n_outputs=2)

    fitted.assert_close(fitted.run()["outputs"], fitted.expected())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", networks.OUTPUTS)
@pytest.mark.parametrize("hidden", [[], [4]])
def test_a_networks_output(hidden: list[int], output: str, dtype: str) -> None:
    fitted = Fitted(MLP | {"hidden": hidden, "output": output}, dtype=dtype)

    fitted.assert_close(fitted.run()["outputs"], fitted.expected())


def test_a_batch_norm_of_hardly_any_variance() -> None:
    fitted = Fitted(MLP | {"batch_norm": True})
    fitted.weights["norms.0.running_var"] = np.full(8, 1e-9)

    fitted.assert_close(fitted.run()["outputs"], fitted.expected())


FAR = [-1e300, -1e3, -40.0, -8.5, -6.0, -1e-9, 0.0, 1e-9, 3.0, 6.0, 8.4, 19.9, 20.1, 800.0, 1e300]


def through(x: NDArray[np.float64], **function: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """x (n,) through a function of the network alone: onnxruntime's numbers and the engine's."""
    hidden = [1] if "activation" in function else []
    model = MLP | {"hidden": hidden} | function
    weights: Arrays = {}
    for i in range(len(hidden) + 1):
        weights |= {f"layers.{i}.weight": np.ones((1, 1)), f"layers.{i}.bias": np.zeros(1)}
    file = onnx_model(mapping(model=model, dtype="float64"), weights, ["x"], None, None)
    expected = predict(specification(model=model).model, Shape(1, 1, 1), weights, x[:, None])
    return run(file, x[:, None])["outputs"], expected


@pytest.mark.parametrize(
    "function",
    [{"activation": name} for name in ACTIVATIONS] + [{"output": name} for name in OUTPUTS],
)
def test_a_function_from_end_to_end_of_its_numbers(function: dict[str, str]) -> None:
    given, expected = through(np.array([*FAR, *np.linspace(-30, 30, 4001)]), **function)

    np.testing.assert_allclose(given, expected, rtol=1e-13, atol=1e-13)


def test_a_small_softplus_keeps_its_digits() -> None:
    given, expected = through(np.array([-700.0, -40.0, -30.0, -5.0]), output="softplus")

    np.testing.assert_allclose(given, expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", [one_layer("linear"), MLP])
def test_standardized_features_are_taken_in_their_own_units(
    model: dict[str, Any], dtype: str
) -> None:
    scales = {"mean": [0.3, -7.0, 250.1], "std": [0.5, 3.0, 120.0]}
    fitted = Fitted(model, dtype=dtype, standardization=scales)

    fitted.assert_close(fitted.run()["outputs"], fitted.expected())


def test_a_mean_of_more_digits_than_float32_has() -> None:
    scales = {"mean": [0.0, 0.0, 2021.123456789], "std": [1.0, 1.0, 0.01]}
    fitted = Fitted(one_layer("linear"), dtype="float32", standardization=scales)

    fitted.assert_close(fitted.run()["outputs"], fitted.expected())


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_are_predicted_as_they_are_but_for_a_rates_logarithm(dtype: str) -> None:
    plain, poisson = (Fitted(one_layer("linear"), loss, dtype) for loss in ("mse", "poisson"))

    assert plain.run().keys() == {"outputs", "predictions"}
    np.testing.assert_array_equal(plain.run()["predictions"], plain.run()["outputs"])
    poisson.assert_close(poisson.run()["outputs"], poisson.expected())
    poisson.assert_close(poisson.run()["predictions"], np.exp(poisson.expected()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", [one_layer("logistic"), MLP])
def test_log_odds_are_two_classes(model: dict[str, Any], dtype: str) -> None:
    fitted = Fitted(model, "bce", dtype)
    second = expit(fitted.expected())

    given = fitted.run()

    fitted.assert_close(given["probabilities"], np.hstack([1 - second, second]))
    assert_classes(given["classes"], fitted.expected()[:, 0] > 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", [one_layer("softmax"), MLP])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_scores_are_classes(n_classes: int, model: dict[str, Any], dtype: str) -> None:
    fitted = Fitted(model, "cross_entropy", dtype, n_classes)

    given = fitted.run()

    fitted.assert_close(given["probabilities"], softmax(fitted.expected(), axis=1))
    assert_classes(given["classes"], fitted.expected().argmax(axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hinge_tells_classes_but_no_probabilities(dtype: str) -> None:
    fitted = Fitted(one_layer("linear"), "hinge", dtype)

    given = fitted.run()

    assert given.keys() == {"outputs", "predictions", "classes"}
    assert_classes(given["classes"], fitted.expected()[:, 0] > 0)


def assert_classes(given: NDArray[Any], expected: NDArray[Any]) -> None:
    assert given.dtype == np.int64
    assert 0 < expected.sum() < expected.max() * len(expected), "all rows are of one class"
    np.testing.assert_array_equal(given, expected)


def test_log_odds_of_0_are_the_first_class() -> None:
    spec = mapping(model=one_layer("logistic", bias=False), loss={"kind": "bce"})

    given = run(onnx_model(spec, {"weight": np.ones((1, 1))}, ["x"], None, None), np.zeros((1, 1)))

    assert given["classes"] == [0]
    np.testing.assert_array_equal(given["probabilities"], [[0.5, 0.5]])


@pytest.mark.parametrize("n_rows", [0, 1])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_hardly_any_rows(activation: str, n_rows: int) -> None:
    fitted = Fitted(MLP | {"activation": activation, "batch_norm": True}, "bce")

    given = run(fitted.file(), fitted.x[:n_rows])

    fitted.assert_close(given["outputs"], fitted.expected()[:n_rows])
    assert given["probabilities"].shape == (n_rows, 2)
    assert given["classes"].shape == (n_rows,)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_weights_are_there_by_their_names(dtype: str) -> None:
    fitted = Fitted(MLP | {"batch_norm": True}, dtype=dtype)

    held = onnx.load_from_string(fitted.file()).graph.initializer

    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in held}
    for name, weight in fitted.weights.items():
        assert arrays[name].dtype == dtype
        np.testing.assert_array_equal(arrays[name], weight)


@pytest.mark.parametrize("classes", [["no", "ja ✓"], [0, 1], [0.5, 2.5]])
def test_what_the_file_says_of_itself(classes: list[str | int | float]) -> None:
    model = onnx.load_from_string(Fitted(one_layer("logistic"), "bce").file(classes))

    said = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert said == {"feature_labels": LABELS, "classes": classes}
    assert model.producer_name == "thalweg"
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET)
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "features": ["N", 3],
        "outputs": ["N", 1],
        "predictions": ["N", 1],
        "classes": ["N"],
        "probabilities": ["N", 2],
    }


def test_a_model_of_numbers_says_nothing_of_classes() -> None:
    model = onnx.load_from_string(Fitted(one_layer("linear")).file())

    assert [entry.key for entry in model.metadata_props] == ["feature_labels"]


@pytest.mark.parametrize("loss", ["mse", *OF_CLASSES])
def test_the_same_model_is_the_same_bytes(loss: str) -> None:
    one, other = (Fitted(MLP | {"activation": "gelu"}, loss).file([1, 2]) for _ in range(2))

    assert one == other


@pytest.mark.parametrize("labels", [["x"], ["x", "y", "z", "u"]])
def test_labels_of_other_features_are_refused(labels: list[str]) -> None:
    fitted = Fitted(one_layer("linear"))

    with pytest.raises(ValueError, match=r"labels for \[3\] features"):
        onnx_model(fitted.spec, fitted.weights, labels, None, None)


def test_a_standardization_of_other_features_is_refused() -> None:
    scales = {"mean": [0.0, 1.0], "std": [1.0, 1.0]}
    fitted = Fitted(one_layer("linear"))

    with pytest.raises(ValueError, match=r"3 labels for \[2, 3\] features"):
        onnx_model(fitted.spec, fitted.weights, LABELS, scales, None)

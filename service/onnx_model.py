"""The ONNX form of a fitted model.

It takes `features` (N, d) in the fit's dtype and the data's own units, a column a label. It gives
`outputs` (N, k), the model's numbers, and `predictions` (N, k): exp(outputs) for the loss
`poisson`, else the outputs. For losses of c classes it gives `classes` (N,) int64, the places of
the likeliest ones, and but for `hinge` `probabilities` (N, c). Its metadata hold `feature_labels`
and, where there are any, `classes` as JSON lists.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from service.suitability import OF_CLASSES

# The oldest opset that has every operator here as it is used (Softmax is the newest), with the IR
# version of its time: runtimes take what is older than themselves, and refuse what is newer.
# Tried with onnxruntime 1.15 to 1.32.
OPSET = 13
IR_VERSION = 7

_NORM_EPSILON = 1e-5
_LEAK = 0.01
_SOFTPLUS_THRESHOLD = 20
# From here on erf is ±1 in float64; below, so many points give it to 1e-14.
_ERF_END = 6
_ERF_POINTS = 24

_DTYPES = ("float32", "float64", "int64")
_TYPES = {name: helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in _DTYPES}


class Graph:
    """The nodes and the numbers of an ONNX graph as it grows: a value is known by its name."""

    def __init__(self, dtype: str, scope: str = "") -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.numbers: list[onnx.TensorProto] = []
        self._scope = scope

    def add(self, op: str, *inputs: str, result: str | None = None, **attributes: Any) -> str:
        """One node more; the name of what it gives: `result`, or a new one."""
        output = result or f"{self._scope}{op}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def hold(self, name: str, array: NDArray[Any], dtype: str | None = None) -> str:
        """An array more, of the graph's dtype unless another is told; its name."""
        self.numbers.append(numpy_helper.from_array(np.asarray(array, dtype or self.dtype), name))
        return name

    def number(self, value: float) -> str:
        """A constant () of the graph's dtype; its name."""
        return self.hold(f"number.{len(self.numbers)}", np.array(value))

    def told(self, name: str, *shape: str | int, dtype: str | None = None) -> onnx.ValueInfoProto:
        """What the file says of an input or output; no shape at all leaves it open."""
        return helper.make_tensor_value_info(name, _TYPES[dtype or self.dtype], shape or None)


Step = Callable[[Graph, str], str]


def _op(name: str) -> Step:
    return lambda graph, x: graph.add(name, x)


def _silu(graph: Graph, x: str) -> str:
    """x/(1 + e⁻ˣ): of x·Sigmoid(x) onnxruntime can make an operator that it has in float32 only."""
    exp = graph.add("Exp", graph.add("Neg", x))
    return graph.add("Div", x, graph.add("Add", exp, graph.number(1)))


def _leaky_relu(graph: Graph, x: str) -> str:
    # LeakyRelu takes its slope in float32, which is not 0.01 in float64.
    return graph.add("Max", x, graph.add("Mul", x, graph.number(_LEAK)))


def _softplus(graph: Graph, x: str) -> str:
    """log(1 + eˣ), past 20 x itself as torch has it: onnxruntime has no Softplus in float64."""
    exp, one = graph.add("Exp", x), graph.number(1)
    total = graph.add("Add", exp, one)
    # What rounding added to 1 + eˣ, taken back to first order: else small results would be 0.
    excess = graph.add("Sub", graph.add("Sub", total, one), exp)
    log = graph.add("Sub", graph.add("Log", total), graph.add("Div", excess, total))
    linear = graph.add("Greater", x, graph.number(_SOFTPLUS_THRESHOLD))
    return graph.add("Where", linear, x, log)


def _gelu(graph: Graph, x: str) -> str:
    """x·(1 + erf(x/√2))/2."""
    z = graph.add("Mul", x, graph.number(math.sqrt(0.5)))
    erf = graph.add("Erf", z) if graph.dtype == "float32" else _erf(graph, z)
    half = graph.add("Mul", x, graph.number(0.5))
    return graph.add("Mul", half, graph.add("Add", erf, graph.number(1)))


def _erf(graph: Graph, z: str) -> str:
    """2z/√π·∫₀¹exp(-z²t²)dt by Gauss and Legendre: onnxruntime has no Erf in float64."""
    points, weights = np.polynomial.legendre.leggauss(_ERF_POINTS)
    minus_square = graph.add("Neg", graph.add("Mul", z, z))
    zero = graph.add("Mul", minus_square, graph.number(0))
    # Rounded, for processors differ in the last digits, and the file shall be the same on all.
    squares = graph.hold(f"{zero}.squares", np.round(((points + 1) / 2) ** 2, 15))
    factors = graph.hold(f"{zero}.factors", np.round(weights / math.sqrt(math.pi), 15))
    # Point by point: all of them at once would take as many times the memory.
    point = _erf_point(minus_square)
    integral = graph.add("Scan", zero, squares, factors, body=point, num_scan_inputs=2)
    near = graph.add("Less", graph.add("Abs", z), graph.number(_ERF_END))
    return graph.add("Where", near, graph.add("Mul", z, integral), graph.add("Sign", z))


def _erf_point(minus_square: str) -> onnx.GraphProto:
    """One point: (the sum so far, t², its factor) → the sum with factor·exp(-z²t²)."""
    part = Graph("float64", scope=f"{minus_square}.")
    names = before, square, factor = [f"{minus_square}.{name}" for name in ("sum", "t2", "factor")]
    height = part.add("Exp", part.add("Mul", minus_square, square))
    after = part.add("Add", before, part.add("Mul", height, factor))
    return helper.make_graph(part.nodes, "erf", [*map(part.told, names)], [part.told(after)])


# One entry a name of the contract; each is torch's function of that name.
ACTIVATIONS: Mapping[str, Step] = {
    "relu": _op("Relu"),
    "tanh": _op("Tanh"),
    "sigmoid": _op("Sigmoid"),
    "gelu": _gelu,
    "silu": _silu,
    "leaky_relu": _leaky_relu,
    "identity": _op("Identity"),
}
OUTPUTS: Mapping[str, Step] = {
    "auto": _op("Identity"),
    "linear": _op("Identity"),
    "sigmoid": _op("Sigmoid"),
    "tanh": _op("Tanh"),
    "softplus": _softplus,
}


def onnx_model(
    spec: Mapping[str, Any],
    weights: Mapping[str, NDArray[Any]],
    labels: Sequence[str],
    standardization: Mapping[str, list[float]] | None,
    classes: Sequence[str | int | float] | None,
) -> bytes:
    """The file of a model that was fitted by `spec`: the same bytes for the same arguments.

    `weights` are by their state_dict names, and keep them; `labels` name the d features: numbers,
    categories' indicators, a polynomial's terms. `standardization` has the `mean` and `std` (d,)
    that the weights were fitted with, None where the features were taken as they are. Raises
    ValueError where these are not of as many features as there are labels. A file holds at most
    2 GiB, as protobuf's do.
    """
    first = weights["weight" if "weight" in weights else "layers.0.weight"]
    widths = {first.shape[1], *map(len, (standardization or {}).values())}
    if widths != {len(labels)}:
        raise ValueError(f"{len(labels)} labels for {sorted(widths)} features")
    graph = Graph(spec["dtype"])
    x = "features" if standardization is None else _scaled(graph, standardization)
    scores, n_scores = _scores(graph, spec["model"], weights, x)
    outputs = _outputs(graph, spec["loss"]["kind"], scores, n_scores)
    inputs = [graph.told("features", "N", len(labels))]
    metadata = {"feature_labels": labels} | ({} if classes is None else {"classes": classes})
    return _file(helper.make_graph(graph.nodes, "model", inputs, outputs, graph.numbers), metadata)


def _scaled(graph: Graph, standardization: Mapping[str, list[float]]) -> str:
    """(x - mean)/std in float64, as it was for the fit: a mean in float32 can be off by much."""
    mean, std = (
        graph.hold(f"standardization.{name}", np.array(standardization[name]), "float64")
        for name in ("mean", "std")
    )
    x = graph.add("Cast", "features", to=_TYPES["float64"])
    scaled = graph.add("Div", graph.add("Sub", x, mean), std)
    return graph.add("Cast", scaled, to=_TYPES[graph.dtype])


def _scores(
    graph: Graph, model: Mapping[str, Any], weights: Mapping[str, NDArray[Any]], x: str
) -> tuple[str, int]:
    """What the model makes of x (N, d), and how many numbers that is for a row."""
    if model["kind"] != "mlp":
        return _layer(graph, weights, "", x), len(weights["weight"])
    activation, last = ACTIVATIONS[model["activation"]], len(model["hidden"])
    for i in range(last):
        x = _layer(graph, weights, f"layers.{i}.", x)
        if model["batch_norm"]:
            x = _norm(graph, weights, f"norms.{i}.", x)
        x = activation(graph, x)
    x = _layer(graph, weights, f"layers.{last}.", x)
    return OUTPUTS[model["output"]](graph, x), len(weights[f"layers.{last}.weight"])


def _layer(graph: Graph, weights: Mapping[str, NDArray[Any]], prefix: str, x: str) -> str:
    weight, bias = prefix + "weight", prefix + "bias"
    x = graph.add("Gemm", x, graph.hold(weight, weights[weight]), transB=1)
    # Not by Gemm: of it and an activation onnxruntime can make one that it has in float32 only.
    return graph.add("Add", x, graph.hold(bias, weights[bias])) if bias in weights else x


def _norm(graph: Graph, weights: Mapping[str, NDArray[Any]], prefix: str, x: str) -> str:
    """A batch norm with the means and variances that it has kept."""
    weight, bias, mean, variance = (
        graph.hold(prefix + name, weights[prefix + name])
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    # BatchNormalization takes epsilon in float32, which is not 1e-5 in float64.
    std = graph.add("Sqrt", graph.add("Add", variance, graph.number(_NORM_EPSILON)))
    scaled = graph.add("Div", graph.add("Sub", x, mean), std)
    return graph.add("Add", graph.add("Mul", scaled, weight), bias)


def _outputs(graph: Graph, loss: str, scores: str, n_scores: int) -> list[onnx.ValueInfoProto]:
    """The nodes that give the file's outputs, and what the file says of each."""
    graph.add("Identity", scores, result="outputs")
    graph.add("Exp" if loss == "poisson" else "Identity", scores, result="predictions")
    told = [graph.told(name, "N", n_scores) for name in ("outputs", "predictions")]
    if loss not in OF_CLASSES:
        return told
    if n_scores == 1:
        # Two classes are told apart by one number: the first one's score is 0.
        before = graph.hold("first_score", np.array([0, 1, 0, 0]), "int64")
        scores, n_scores = graph.add("Pad", scores, before), 2
    graph.add("ArgMax", scores, result="classes", axis=1, keepdims=0)
    told.append(graph.told("classes", "N", dtype="int64"))
    if loss != "hinge":
        graph.add("Softmax", scores, result="probabilities", axis=1)
        told.append(graph.told("probabilities", "N", n_scores))
    return told


def _file(graph: onnx.GraphProto, metadata: Mapping[str, Sequence[Any]]) -> bytes:
    model = helper.make_model(
        graph,
        producer_name="thalweg",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(model, {k: json.dumps(list(v)) for k, v in metadata.items()})
    return bytes(model.SerializeToString(deterministic=True))

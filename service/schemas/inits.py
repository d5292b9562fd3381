"""The weights that a fit starts from."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from service.schemas.common import Id, Matrix, NonNegative, Schema, Vector


class DefaultInit(Schema):
    """torch's own draws for the seed."""

    kind: Literal["default"] = "default"


class ZerosInit(Schema):
    """Every weight 0."""

    kind: Literal["zeros"]


class UniformInit(Schema):
    """torch.nn.init.uniform_; biases 0."""

    kind: Literal["uniform"]
    a: float = 0.0
    b: float = 1.0


class NormalInit(Schema):
    """torch.nn.init.normal_; biases 0."""

    kind: Literal["normal"]
    mean: float = 0.0
    std: NonNegative = 1.0


class XavierUniformInit(Schema):
    """torch.nn.init.xavier_uniform_; biases 0."""

    kind: Literal["xavier_uniform"]
    gain: float = 1.0


class XavierNormalInit(Schema):
    """torch.nn.init.xavier_normal_; biases 0."""

    kind: Literal["xavier_normal"]
    gain: float = 1.0


class KaimingInit(Schema):
    """What both of He's schemes take."""

    a: float = 0.0
    mode: Literal["fan_in", "fan_out"] = "fan_in"
    nonlinearity: Literal["leaky_relu", "relu", "linear", "tanh", "sigmoid"] = "leaky_relu"


class KaimingUniformInit(KaimingInit):
    """torch.nn.init.kaiming_uniform_; biases 0."""

    kind: Literal["kaiming_uniform"]


class KaimingNormalInit(KaimingInit):
    """torch.nn.init.kaiming_normal_; biases 0."""

    kind: Literal["kaiming_normal"]


class OrthogonalInit(Schema):
    """torch.nn.init.orthogonal_; biases 0."""

    kind: Literal["orthogonal"]
    gain: float = 1.0


NamedInit = Annotated[
    DefaultInit
    | ZerosInit
    | UniformInit
    | NormalInit
    | XavierUniformInit
    | XavierNormalInit
    | KaimingUniformInit
    | KaimingNormalInit
    | OrthogonalInit,
    Field(discriminator="kind"),
]


def _matrix_or_vector(value: Any) -> str:
    nested = isinstance(value, list) and value and isinstance(value[0], list)
    return "matrix" if nested else "vector"


def _form(value: Any) -> str:
    if isinstance(value, GivenInit) or (isinstance(value, dict) and "weights" in value):
        return "given"
    fit = isinstance(value, FitInit) or (isinstance(value, dict) and "fit" in value)
    return "fit" if fit else "named"


WeightArray = Annotated[
    Annotated[Vector, Tag("vector")] | Annotated[Matrix, Tag("matrix")],
    Discriminator(_matrix_or_vector),
]


class GivenInit(Schema):
    """Weights to start from, by their state_dict names, matrices as outputs × inputs."""

    weights: dict[str, WeightArray] = Field(
        examples=[{"weight": [[-3.0]], "bias": [-2.0]}],
    )


class FitInit(Schema):
    """The weights that another fit ended with; with its `optimizer_state` the fit goes on there.

    Then its steps are those that the other one would have made next: optimizer, schedule, shuffles
    and dropout go on, and nothing of the optimizer but its lr may be changed.
    """

    fit: Annotated[Id, Field(examples=["fit_01KB2Q3M6X8T5V9W0Y1Z2A3B4C"])]
    optimizer_state: bool = False


Init = Annotated[
    Annotated[NamedInit, Tag("named")]
    | Annotated[GivenInit, Tag("given")]
    | Annotated[FitInit, Tag("fit")],
    Discriminator(_form),
]

"""The script's model, and the weights that it starts from."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from service.reproduction.recipe import Recipe
from service.reproduction.wording import assigned, called, indented, joined, keywords, literal
from service.schemas.inits import NamedInit

# One entry a name of the contract; torch's functions.
ACTIVATIONS: Mapping[str, str | None] = {
    "relu": "torch.relu",
    "tanh": "torch.tanh",
    "sigmoid": "torch.sigmoid",
    "gelu": "nn.functional.gelu",
    "silu": "nn.functional.silu",
    "leaky_relu": "nn.functional.leaky_relu",
    "identity": None,
}
OUTPUTS: Mapping[str, str | None] = {
    "auto": None,
    "linear": None,
    "sigmoid": "torch.sigmoid",
    "tanh": "torch.tanh",
    "softplus": "nn.functional.softplus",
}
_MOST_WIDTHS_SHOWN = 8
_MOST_WEIGHTS_SHOWN = 6
_NAMED: TypeAdapter[Any] = TypeAdapter(NamedInit)


def network(recipe: Recipe) -> list[str]:
    """The class of a multilayer perceptron."""
    if not recipe.is_network:
        return []
    dtype = recipe.dtype_argument
    layers = f"nn.Linear(*pair{dtype}) for pair in zip(sizes, sizes[1:])"
    norms = f"nn.BatchNorm1d(size{dtype}) for size in sizes[1:-1]"
    return [
        "class Network(nn.Module):",
        "    def __init__(self, *sizes):",
        "        super().__init__()",
        f"        self.layers = nn.ModuleList({layers})",
        *([f"        self.norms = nn.ModuleList({norms})"] if recipe.has_norms else []),
        "",
        "    def forward(self, x):",
        *(_hidden(recipe) if recipe.hidden else []),
        f"        return {_applied(OUTPUTS[recipe.spec['model']['output']], 'self.layers[-1](x)')}",
    ]


def _hidden(recipe: Recipe) -> list[str]:
    """The forward pass through all layers but the last."""
    loop, x = "for layer in self.layers[:-1]:", "layer(x)"
    if recipe.has_norms:
        # There is a norm less than there are layers, which ends the loop before the last one.
        loop, x = "for layer, norm in zip(self.layers, self.norms):", "norm(layer(x))"
    lines = [
        f"        {loop}",
        f"            x = {_applied(ACTIVATIONS[recipe.spec['model']['activation']], x)}",
    ]
    if recipe.dropout == 0:
        return lines
    rate = literal(recipe.dropout)
    drawn = f"x.shape, generator=dropout{recipe.dtype_argument}"
    return [
        *lines,
        "            if self.training:  # Dropout: what is kept grows by what is dropped.",
        f"                kept = torch.rand({drawn}) >= {rate}",
        f"                x = x * kept / (1 - {rate})",
    ]


def _applied(function: str | None, x: str) -> str:
    return x if function is None else f"{function}({x})"


def construction(recipe: Recipe) -> list[str]:
    """`model`, and the generator of its dropout, with the first weights."""
    dropout = ["dropout = torch.Generator()"] if recipe.dropout else []
    hidden = assigned("hidden", recipe.hidden, recipe.data_lines) if _is_deep(recipe) else []
    build = [*hidden, f"model = {_module(recipe)}"]
    init = recipe.spec["init"]
    if "weights" in init:
        return [*dropout, *build, *_given(init["weights"], recipe.dtype_argument)]
    seed = f"torch.manual_seed({recipe.seed('init')})"
    if init["kind"] == "default":
        return [*dropout, seed, *build]
    return [*dropout, *build, *_drawn(recipe, seed)]


def _module(recipe: Recipe) -> str:
    outputs = "len(classes)" if recipe.scored else "1" if recipe.of_classes else "y.shape[1]"
    if recipe.is_network:
        return f"Network({joined(['x.shape[1]', *_hidden_widths(recipe), outputs])})"
    bias = "" if recipe.spec["model"]["bias"] else ", bias=False"
    return f"nn.Linear(x.shape[1], {outputs}{bias}{recipe.dtype_argument})"


def _hidden_widths(recipe: Recipe) -> list[str]:
    return ["*hidden"] if _is_deep(recipe) else [*map(str, recipe.hidden)]


def _is_deep(recipe: Recipe) -> bool:
    return len(recipe.hidden) > _MOST_WIDTHS_SHOWN


def _given(weights: Mapping[str, Any], dtype: str) -> list[str]:
    """An entry a line where they are few, however long it is."""
    entries = [f"{literal(name)}: {literal(weight)}" for name, weight in weights.items()]
    lines = ["initial = {", *indented(f"{entry}," for entry in entries), "}"]
    if len(entries) > _MOST_WEIGHTS_SHOWN:
        lines = ["initial = {" + ", ".join(entries) + "}"]
    # A batch norm's count of batches is no weight.
    strict = ", strict=False" if any(name.startswith("norms") for name in weights) else ""
    tensors = f"{{name: torch.tensor(w{dtype}) for name, w in initial.items()}}"
    return [*lines, f"model.load_state_dict({tensors}{strict})"]


def _drawn(recipe: Recipe, seed: str) -> list[str]:
    """The weights by a scheme, the biases 0."""
    init = recipe.spec["init"]
    loop = []
    indent = ""
    layer = "model"
    if recipe.is_network:
        loop, indent, layer = ["for layer in model.layers:"], "    ", "layer"
    arguments = [f"{layer}.weight", *keywords(changed(_NAMED, init))]
    draw = called(f"nn.init.{init['kind']}_(", arguments)
    has_bias = recipe.is_network or recipe.spec["model"]["bias"]
    zero = [f"nn.init.zeros_({layer}.bias)"] if has_bias else []
    seeded = [] if init["kind"] == "zeros" else [seed]
    return [*seeded, *loop, *(indent + line for line in [*draw, *zero])]


def changed(adapter: TypeAdapter[Any], member: Mapping[str, Any]) -> dict[str, Any]:
    """What of a tagged union's member is not as torch has it by default, but for its tag."""
    found = adapter.validate_python(dict(member))
    fields = type(found).model_fields
    return {
        name: value
        for name, value in member.items()
        if name != "kind" and (fields[name].is_required() or value != fields[name].default)
    }

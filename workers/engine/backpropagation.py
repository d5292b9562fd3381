"""The loss of a network and its gradient, written out layer by layer."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from workers.engine.losses import Loss
from workers.engine.networks import ACTIVATIONS, OUTPUTS, Mlp, Network
from workers.engine.objective import Objective
from workers.engine.products import product
from workers.engine.rows import Part
from workers.engine.specification import Penalty

Slope = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

_aten: Any = torch.ops.aten
# Of each of `ACTIVATIONS`: the gradient g of its output a, and its input z → the gradient of z, by
# the functions that autograd calls.
SLOPES: Mapping[str, Slope] = {
    "relu": lambda g, z, a: _aten.threshold_backward(g, a, 0),
    "tanh": lambda g, z, a: _aten.tanh_backward(g, a),
    "sigmoid": lambda g, z, a: _aten.sigmoid_backward(g, a),
    "gelu": lambda g, z, a: _aten.gelu_backward(g, z),
    "silu": lambda g, z, a: _aten.silu_backward(g, z),
    "leaky_relu": lambda g, z, a: _aten.leaky_relu_backward(g, z, 0.01, False),
    "identity": lambda g, z, a: g,
}
_NO_HIDDEN = Mlp((), "identity", dropout=0.0, batch_norm=False, output="auto")


@dataclass(slots=True, eq=False)
class _Passed:
    """What a hidden layer's gradient is made from: x (m, d), and (m, n) its z, a and `kept`.

    `normed` is what went into its batch norm, with the mean and 1/deviation that were taken there.
    """

    x: torch.Tensor
    z: torch.Tensor
    a: torch.Tensor
    kept: torch.Tensor | None
    normed: tuple[torch.Tensor, ...] | None


class Backpropagation(Objective):
    """The loss and the gradient of `Objective`, without autograd but for the loss's own formula.

    A batch must come in one part where there is a batch norm or a dropout.
    """

    def __init__(self, model: nn.Module, loss: Loss, penalty: Penalty) -> None:
        super().__init__(model, loss, penalty)
        self._network = model if isinstance(model, Network) else None
        self._made_of = _NO_HIDDEN if self._network is None else self._network.made_of
        name = self._made_of.activation
        # Its slope needs no z, which may become a.
        self._activation = torch.relu_ if name == "relu" else ACTIVATIONS[name]
        self._slope = SLOPES[name]
        layers: Any = [model] if self._network is None else self._network.layers
        self._layers: list[nn.Linear] = list(layers)
        self._norms: list[Any] = [] if self._network is None else list(self._network.norms)

    def mean(self, parts: Iterator[Part]) -> float:
        """The mean loss of all parts together, and the penalty."""
        self._learns = torch.is_grad_enabled()
        with torch.no_grad():
            loss = self._mean_loss(parts)
            if not self._penalty:
                return loss
            if self._learns:
                self._pull()
            return loss + self._weigh().item()

    def _pull(self) -> None:
        """Add the penalty's gradient."""
        for weight in self._weights:
            gradient: Any = weight.grad
            if self._penalty.l1:
                gradient.add_(weight.sign(), alpha=self._penalty.l1)
            if self._penalty.l2:
                gradient.add_(weight, alpha=2 * self._penalty.l2)

    def _add(self, part: Part, share: float) -> float:
        passed: list[_Passed] = []
        x = part.x
        for i, layer in enumerate(self._layers[:-1]):
            through = self._pass(i, layer, x)
            x = self._dropped(through)
            if self._learns:
                passed.append(through)
        answer = product(x, self._layers[-1].weight, self._layers[-1].bias)
        loss, gradient = self._loss_of(answer, part)
        if self._learns:
            self._go_back(gradient if share == 1.0 else share * gradient, x, passed)
        return share * loss

    def _loss_of(self, answer: torch.Tensor, part: Part) -> tuple[float, torch.Tensor]:
        """The loss of the last layer's numbers (m, k), and its gradient (m, k)."""
        output = OUTPUTS[self._made_of.output]
        if not self._learns:
            return self._loss_at(output(answer), part).item(), answer
        with torch.enable_grad():
            answer.requires_grad_()
            loss = self._loss_at(output(answer), part)
            (gradient,) = torch.autograd.grad(loss, answer)
        return loss.item(), gradient

    def _pass(self, i: int, layer: nn.Linear, x: torch.Tensor) -> _Passed:
        z, normed = product(x, layer.weight, layer.bias), None
        if self._norms:
            z, normed = self._normed(i, z)
        a = self._activation(z)
        kept = None
        if self._network is not None and self._network.training and self._made_of.dropout:
            kept = self._network.draw_kept(a)
        return _Passed(x, z, a, kept, normed)

    def _dropped(self, passed: _Passed) -> torch.Tensor:
        if passed.kept is None:
            return passed.a
        return passed.a * passed.kept / (1 - self._made_of.dropout)

    def _normed(self, i: int, z: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        norm = self._norms[i]
        made, mean, deviation = torch.native_batch_norm(
            z, norm.weight, norm.bias, norm.running_mean, norm.running_var,
            norm.training, norm.momentum, norm.eps,
        )  # fmt: skip
        return made, (z, mean, deviation)

    def _go_back(self, gradient: torch.Tensor, x: torch.Tensor, passed: list[_Passed]) -> None:
        """From the gradient of the last layer's numbers to that of every parameter."""
        _leave(self._layers[-1], gradient, x)
        for i in reversed(range(len(passed))):
            through = passed[i]
            gradient = product(gradient, self._layers[i + 1].weight.t())
            if through.kept is not None:
                gradient = gradient / (1 - self._made_of.dropout) * through.kept
            gradient = self._slope(gradient, through.z, through.a)
            if through.normed is not None:
                gradient = self._norm_back(i, gradient, through.normed)
            _leave(self._layers[i], gradient, through.x)

    def _norm_back(
        self, i: int, gradient: torch.Tensor, normed: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        norm = self._norms[i]
        z, mean, deviation = normed
        made, norm.weight.grad, norm.bias.grad = _aten.native_batch_norm_backward(
            gradient, z, norm.weight, norm.running_mean, norm.running_var,
            mean, deviation, True, norm.eps, [True, True, True],
        )  # fmt: skip
        before: torch.Tensor = made
        return before


def _leave(layer: nn.Linear, gradient: torch.Tensor, x: torch.Tensor) -> None:
    """Add the layer's gradient to its parameters': from that of its numbers, and what went in."""
    _add_to(layer.weight, product(gradient.t(), x.t()))
    if layer.bias is not None:
        _add_to(layer.bias, gradient.sum(0))


def _add_to(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

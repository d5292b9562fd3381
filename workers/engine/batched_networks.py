"""Many networks of one shape at once, the job dimension in front."""

import torch

from workers.engine.data import Shape
from workers.engine.losses import Loss
from workers.engine.models import Model
from workers.engine.networks import ACTIVATIONS, OUTPUTS, Mlp
from workers.engine.specification import Penalty

Parameters = dict[str, torch.Tensor]


class BatchedNetwork:
    """The loss of each of g networks on rows of its own, without dropout or batch norm.

    Parameters are (g, n_out, n_in) weights and (g, 1, n_out) biases by their state_dict names.
    """

    def __init__(self, model: Model, loss: Loss, penalty: Penalty, shape: Shape) -> None:
        self._loss = loss
        self._penalty = penalty
        names = list(model.weight_shapes(shape))
        self._weights = [name for name in names if name.endswith("weight")]
        self._biases = set(names) - set(self._weights)
        self._activation = ACTIVATIONS[model.activation if isinstance(model, Mlp) else "identity"]
        self._output = OUTPUTS[model.output if isinstance(model, Mlp) else "auto"]

    def losses(
        self, at: Parameters, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None
    ) -> torch.Tensor:
        """x (g, m, d), y (g, m, k), weight (g, m) or None → (g,), the penalty included."""
        answers = self._answers(at, x).flatten(0, 1)
        of_samples = self._loss.of_samples(answers, y.flatten(0, 1)).view(y.shape[:2])
        if weight is None:
            losses = of_samples.mean(1)
        else:
            total = weight.sum(1)
            # Rows that all count nothing have no loss.
            losses = (weight * of_samples).sum(1) / total.where(total > 0, 1.0)
        l1, l2 = self._penalty.l1, self._penalty.l2
        for name in self._weights:
            flat = at[name].flatten(1)
            if l1:
                losses = losses + l1 * flat.abs().sum(1)
            if l2:
                losses = losses + l2 * flat.square().sum(1)
        return losses

    def _answers(self, at: Parameters, x: torch.Tensor) -> torch.Tensor:
        for i, name in enumerate(self._weights):
            if i:
                x = self._activation(x)
            bias = name.removesuffix("weight") + "bias"
            weight = at[name].transpose(1, 2)
            x = torch.baddbmm(at[bias], x, weight) if bias in self._biases else x @ weight
        return self._output(x)

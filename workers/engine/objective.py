"""What the plain loop descends: the mean loss over a batch's parts, and the penalty."""

from collections.abc import Iterator

import torch
from torch import nn

from workers.engine.interrupting import look
from workers.engine.losses import Loss
from workers.engine.rows import Part
from workers.engine.specification import Penalty


class Objective:
    """The loss of a model, and with gradients enabled its gradient, left in the parameters."""

    def __init__(self, model: nn.Module, loss: Loss, penalty: Penalty) -> None:
        self._model = model
        self._loss = loss
        self._penalty = penalty
        self._learns = False
        self._parameters = list(model.parameters())
        self._weights = [
            parameter
            for name, parameter in model.named_parameters()
            if name.endswith("weight") and not name.startswith("norms")
        ]

    def mean(self, parts: Iterator[Part]) -> float:
        """The mean loss of all parts together, and the penalty."""
        self._learns = torch.is_grad_enabled()
        loss = self._mean_loss(parts)
        if not self._penalty:
            return loss
        penalty = self._weigh()
        _backward(penalty)
        return loss + penalty.item()

    def _mean_loss(self, parts: Iterator[Part]) -> float:
        total = weight = unit = 0.0
        for part in parts:
            if unit:
                look()
            # In units of the first part a batch in one part, as most are, counts just 1.
            counts = self._total_weight(part)
            unit = unit or counts
            share = counts / (unit or 1.0)
            total += self._add(part, share)
            weight += share
            # A window must be gone before the next one comes.
            del part
        if weight in (0.0, 1.0):
            return total
        if self._learns:
            self._divide_gradients(weight)
        return total / weight

    def _add(self, part: Part, share: float) -> float:
        """The part's loss times its share; its gradient is added to the others'."""
        loss = self._part_loss(part)
        if share != 1.0:
            loss = share * loss
        _backward(loss)
        return loss.item()

    def _divide_gradients(self, by: float) -> None:
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad /= by

    def _part_loss(self, part: Part) -> torch.Tensor:
        return self._loss_at(self._model(part.x), part)

    def _loss_at(self, prediction: torch.Tensor, part: Part) -> torch.Tensor:
        """The part's mean loss at predictions (m, k)."""
        if part.weight is None:
            return self._loss.mean(prediction, part.y)
        losses = self._loss.of_samples(prediction, part.y)
        counts = self._loss.counts(part.y)
        weight = part.weight if counts is None else part.weight * counts
        # Rows that all count nothing have no loss, and pull nowhere.
        return (part.weight * losses).sum() / (weight.sum() or 1.0)

    def _total_weight(self, part: Part) -> float:
        counts = self._loss.counts(part.y)
        if part.weight is None:
            return float(len(part.y) if counts is None else counts.double().sum())
        weight = part.weight if counts is None else part.weight * counts
        return float(weight.double().sum())

    def _weigh(self) -> torch.Tensor:
        """The penalty; a factor of 0 takes no part, for 0 times infinity is no number."""
        l1, l2 = self._penalty.l1, self._penalty.l2
        terms = [l1 * weight.abs().sum() for weight in self._weights if l1]
        terms += [l2 * weight.square().sum() for weight in self._weights if l2]
        return torch.stack(terms).sum()


def _backward(loss: torch.Tensor) -> None:
    if torch.is_grad_enabled():
        loss.backward()

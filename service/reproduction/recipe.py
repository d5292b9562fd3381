"""What a script must do for a fit, seen from its spec and its dataset."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from service.suitability import OF_CLASSES
from service.tables.encoding import encode


@dataclass(frozen=True)
class Recipe:
    """A fit's resolved spec, its dataset, and where it was ended before its time."""

    spec: Mapping[str, Any]
    columns: Sequence[Mapping[str, Any]]
    digest: str
    n_rows: int
    n_steps: int | None = None
    cancelled: bool = False
    # Data of more lines than this are written as one long line.
    data_lines: int = 12

    @cached_property
    def categories(self) -> list[str]:
        """The dataset's columns of texts."""
        return [column["name"] for column in self.columns if column["type"] == "category"]

    @property
    def has_category_features(self) -> bool:
        """Whether a feature is one-hot encoded."""
        return not {*self.categories}.isdisjoint(self.spec["features"])

    @property
    def targets(self) -> list[str]:
        """The target columns, however many were named."""
        target = self.spec["target"]
        return [target] if isinstance(target, str) else list(target)

    @property
    def loss(self) -> str:
        """The loss's kind."""
        return str(self.spec["loss"]["kind"])

    @property
    def dtype_argument(self) -> str:
        """What makes a tensor of the fit's dtype where torch would make one of float32.

        Not torch's default dtype, for some optimizers keep their own numbers in that.
        """
        return "" if self.spec["dtype"] == "float32" else ", dtype=dtype"

    @property
    def of_classes(self) -> bool:
        """Whether the target is a class."""
        return self.loss in OF_CLASSES

    @property
    def scored(self) -> bool:
        """Whether the model has a score for each class."""
        return self.loss == "cross_entropy"

    @property
    def arrays(self) -> list[str]:
        """The script's names of what it is fitted to."""
        return ["x", "y"] if self.spec["sample_weight"] is None else ["x", "y", "weight"]

    @property
    def is_network(self) -> bool:
        """Whether the model has layers of its own names."""
        return bool(self.spec["model"]["kind"] == "mlp")

    @property
    def hidden(self) -> list[int]:
        """The widths of the model's hidden layers, if any."""
        return list(self.spec["model"]["hidden"]) if self.is_network else []

    @property
    def has_norms(self) -> bool:
        """Whether the hidden layers are followed by batch norms."""
        return bool(self.hidden) and bool(self.spec["model"]["batch_norm"])

    @property
    def dropout(self) -> float:
        """The share of a hidden layer's numbers that each step drops."""
        return float(self.spec["model"]["dropout"]) if self.hidden else 0.0

    @property
    def behaves_otherwise_in_training(self) -> bool:
        """Whether the model must be told that it is evaluated."""
        return self.has_norms or self.dropout > 0

    def seed(self, source: str) -> int:
        """The seed of one source of chance: `init`, `shuffle` or `split`."""
        seed = self.spec["seed"]
        return int(seed if isinstance(seed, int) else seed[source])

    @property
    def stratified(self) -> bool:
        """Whether rows are held out of each class."""
        validation = self.spec["validation"]
        return validation is not None and bool(validation["stratify"])

    @property
    def most_training_rows(self) -> int:
        """The rows left to fit; stratified, a few less may be."""
        validation = self.spec["validation"]
        held_out = 0 if validation is None else math.ceil(validation["fraction"] * self.n_rows)
        return self.n_rows - held_out

    @property
    def batch_size(self) -> int | None:
        """The rows of a batch; None where it is all of them."""
        size = self.spec["batch_size"]
        return None if size is None or size >= self.most_training_rows else int(size)

    @property
    def may_be_one_batch(self) -> bool:
        """Whether only the script can tell if a batch is the whole set."""
        if not self.stratified or self.batch_size is None:
            return False
        return self.batch_size >= self.most_training_rows - self._n_classes

    @property
    def interval(self) -> str | None:
        """When the schedule moves the rate; without batches a step is an epoch."""
        scheduler = self.spec["scheduler"]
        return None if scheduler is None else str(scheduler["interval"])

    @property
    def looks_at_the_epochs_loss(self) -> bool:
        """Whether the rate follows from the epochs' losses."""
        scheduler = self.spec["scheduler"]
        by_loss = scheduler is not None and scheduler["kind"] == "reduce_on_plateau"
        return by_loss and self.interval == "epoch"

    @property
    def monitored(self) -> str | None:
        """The loss that ends the fit early, if any."""
        stopping = self.spec["early_stopping"]
        return None if stopping is None else str(stopping["monitor"])

    @property
    def needs_validation_loss(self) -> bool:
        """Whether anything follows from the held-out rows' loss."""
        by_rate = self.looks_at_the_epochs_loss and self.spec["validation"] is not None
        return by_rate or self.monitored == "validation_loss"

    @property
    def needs_train_loss(self) -> bool:
        """Whether anything follows from the epoch's own loss."""
        by_rate = self.looks_at_the_epochs_loss and self.spec["validation"] is None
        return by_rate or self.monitored == "train_loss"

    @property
    def restores_best(self) -> bool:
        """Whether the best epoch's weights are the ones to give; a cancelled fit keeps its last."""
        stopping = self.spec["early_stopping"]
        return stopping is not None and stopping["restore_best"] and not self.cancelled

    @property
    def step_work(self) -> int:
        """The multiplications of a step's forward pass."""
        n_features = len(encode(self.spec["features"], self.columns, self.spec["model"]))
        n_outputs = len(self.targets)
        if self.scored:
            n_outputs = self._n_classes
        widths = [n_features, *self.hidden, n_outputs]
        size = self.batch_size or self.most_training_rows
        return size * sum(n_in * n_out for n_in, n_out in pairwise(widths))

    @property
    def _n_classes(self) -> int:
        by_name = {column["name"]: column for column in self.columns}
        return int(by_name[self.targets[0]]["n_distinct"])

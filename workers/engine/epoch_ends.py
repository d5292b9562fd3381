"""What a loop does when an epoch is over."""

import copy
from collections.abc import Callable

from workers.engine.dtypes import Weights
from workers.engine.early_stopping import EarlyStopping, Patience
from workers.engine.named_parts import Arrays, joined, part
from workers.engine.trace import Trace


class EpochEnds:
    """Looks at the loss of held-out rows, and at whether the fit still gets better.

    `held_out` gives that loss at the fit's weights; it is None where no rows are held out. `best`
    are the weights to go back to in the end, `is_over` says that the end has come. `owes_a_look`
    says that the last look was interrupted.
    """

    def __init__(self, rule: EarlyStopping | None, held_out: Callable[[], float] | None) -> None:
        self._held_out = held_out
        self._patience = None if rule is None else Patience(rule)
        self.best: Weights | None = None
        self.owes_a_look = False

    def copied(self) -> "EpochEnds":
        """As they are now, whatever is looked at later."""
        copied = copy.copy(self)
        copied._patience = copy.copy(self._patience)
        return copied

    def kept(self) -> Arrays:
        """What was seen at the ends so far."""
        if self._patience is None:
            return {}
        return {"patience": self._patience.kept(), **joined({"best": self.best or {}})}

    def take_up(self, kept: Arrays) -> None:
        """Go on from what those of the same fit have kept."""
        if self._patience is not None:
            self._patience.take_up(kept["patience"])
            self.best = part(kept, "best") or None

    @property
    def matter(self) -> bool:
        """Whether there is anything to look at."""
        return self._held_out is not None or self._patience is not None

    @property
    def is_over(self) -> bool:
        """Whether it is time to stop."""
        return self._patience is not None and self._patience.is_over

    def look(self, trace: Trace, epoch: int, weights: Callable[[], Weights]) -> float:
        """Enter the held-out loss; the one to go by: it, or else the epoch's own."""
        self.owes_a_look = True
        train_loss = loss = trace.epoch_loss(epoch)
        if self._held_out is not None:
            loss = self._held_out()
            trace.validation_loss[epoch] = loss
        if self._patience is not None:
            best = self._patience.look(train_loss=train_loss, validation_loss=loss)
            if best and self._patience.keeps_the_best:
                self.best = weights()
        self.owes_a_look = False
        return loss

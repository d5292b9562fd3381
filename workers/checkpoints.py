"""A fit's checkpoints in the object store, on a clock."""

import math
import time
from functools import cached_property

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray

from service.checkpoints import newest_checkpoint, store_checkpoint
from service.context import Context
from service.errors import Unavailable
from service.lifecycle import Claim
from workers.draining import draining
from workers.engine import Checkpoint
from workers.fingerprint import machine
from workers.heartbeat import Heartbeat
from workers.outages import store_is_away

log = structlog.get_logger(__name__)

# Each is followed by a pause of so many times what it took, however large it is.
_LEAST_PAUSE = 100
# A store that failed may have taken long to do so; it is not left alone for so many times that.
_MOST_PAUSE_SECONDS = 60.0
_MADE_BY = "made_by"


class StoredCheckpoints:
    """Those of one claim. See `workers.engine.Checkpoints`.

    `last` is what an earlier attempt left, where it was computed as it would be here: on another
    kind of machine the fit begins anew, for its bits are another's. One is due every
    `THALWEG_CHECKPOINT_SECONDS`, and when the worker is to stop.
    """

    def __init__(self, context: Context, claim: Claim, heartbeat: Heartbeat) -> None:
        self._context = context
        self._claim = claim
        self._heartbeat = heartbeat
        self._every_seconds = context.settings.checkpoint_seconds
        self._next = time.monotonic() + self._every_seconds
        self._has_parted = False
        self._began = 0.0
        self.last = self._find() if claim.fence > 1 else None

    @cached_property
    def _made_by(self) -> NDArray[np.uint8]:
        """What the fit's bits depend on, as bytes: most fits end before they need it."""
        facts = {"machine": machine(self._claim.spec), "spec": self._claim.spec_digest}
        return np.frombuffer(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS), np.uint8)

    def is_due(self) -> bool:
        """Whether it is time for another one; never where nobody will go on from it."""
        parting = draining() and not self._has_parted
        if time.monotonic() < self._next and not parting:
            return False
        if draining() and store_is_away(self._context):
            # Whoever is to stop has no time to wait for it.
            self._has_parted, self._next = True, math.inf
            return False
        self._began = time.monotonic()
        claim, heartbeat = self._claim, self._heartbeat
        return not heartbeat.lost(claim) and not heartbeat.cancelled(claim)

    def write(self, checkpoint: Checkpoint) -> None:
        """Keep this one; where the store does not take it, the fit goes on without."""
        is_taken = self._store(checkpoint)
        now = time.monotonic()
        seconds = now - self._began
        pause = _LEAST_PAUSE * seconds
        if is_taken:
            log.debug("checkpoint_written", step=checkpoint.n_steps, seconds=seconds)
        else:
            pause = min(pause, _MOST_PAUSE_SECONDS)
        self._has_parted = draining()
        self._next = now + max(self._every_seconds, pause)

    def _store(self, checkpoint: Checkpoint) -> bool:
        """Whether the store has taken it."""
        arrays = checkpoint.to_arrays() | {_MADE_BY: self._made_by}
        try:
            store_checkpoint(self._context, self._claim.fit_id, self._claim.fence, arrays)
        except (OSError, Unavailable) as error:
            log.warning("checkpoint_not_written", step=checkpoint.n_steps, error=repr(error))
            return False
        return True

    def _find(self) -> Checkpoint | None:
        arrays = newest_checkpoint(self._context, self._claim.fit_id, self._claim.fence)
        if arrays is None:
            return None
        if arrays.pop(_MADE_BY).tobytes() != self._made_by.tobytes():
            log.info("checkpoint_of_another_kind")
            return None
        checkpoint = Checkpoint.from_arrays(arrays)
        log.info("checkpoint_found", step=checkpoint.n_steps)
        return checkpoint

"""Whether a peer has computed what the engine has: a time of other work is worth nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.benchmarks.lineup import Compared

# A descent along other batches ends elsewhere, but nearly as low: as a share of the first loss.
_END_TOLERANCE = 0.02


def difference(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], compared: Compared
) -> dict[str, float]:
    """How far a peer's figures are from the engine's; see `tests.benchmarks.peers.figures`.

    `steps`: the largest weight's relative distance and the largest relative distance of a loss,
    those kept of the history and those of the end. `end`: the distance of the losses at the end,
    as a share of the loss that the engine began with.
    """
    if compared == "nothing":
        return {}
    ends, their_ends = np.array(ours["final_losses"]), np.array(theirs["final_losses"])
    first = np.array(ours["losses"])[:, 0]
    if compared == "end":
        return {"final_losses": float(np.max(np.abs(their_ends - ends) / first))}
    weights, their_weights = np.array(ours["weights"]), np.array(theirs["weights"])
    losses = np.column_stack([np.array(ours["losses"]), ends])
    their_losses = np.column_stack([np.array(theirs["losses"]), their_ends])
    return {
        "weights": float(np.max(np.abs(their_weights - weights)) / np.max(np.abs(weights))),
        "losses": float(np.max(np.abs(their_losses - losses) / np.abs(losses))),
    }


def allowed(compared: Compared, tolerance: float) -> float:
    """How far a peer may be, where those of the same steps are held to the `tolerance`."""
    return _END_TOLERANCE if compared == "end" else tolerance

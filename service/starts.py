"""Finding the fit that a new one starts from, and keeping a copy of what it gives."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from service.artifacts import load_artifact, store_artifact
from service.context import Context
from service.database import DatabaseError
from service.errors import Gone, InvalidInput, NotFound, Place
from service.fits import find_row
from service.origin import Origin
from service.schemas.inits import FitInit
from service.storage import discard

# Under these names a fit keeps what it starts from: the other one may be forgotten meanwhile.
START = "start"
START_STATE = "start_state"


def find_origin(context: Context, init: FitInit, owner: str) -> Origin:
    """What the new fit starts from; raises NotFound, Gone and InvalidInput with pointers."""
    try:
        row = find_row(context, init.fit, owner)
    except (NotFound, Gone) as error:
        raise type(error)(
            error.detail, places=[Place(error.code, error.detail, "/init/fit")]
        ) from None
    weights = _load(context, row["id"], "weights", "/init/fit")
    state = None
    if init.optimizer_state:
        state = _load(context, row["id"], "state", "/init/optimizer_state")
    return Origin(row["spec"], weights, state)


def _load(context: Context, fit_id: str, name: str, pointer: str) -> bytes:
    try:
        return load_artifact(context, fit_id, name)
    except NotFound:
        detail = (
            f"the fit {fit_id} keeps no {name}: it has not ended, has failed, or was asked to keep "
            "nothing but its final weights"
        )
        raise InvalidInput(detail, places=[Place(f"no_{name}", detail, pointer)]) from None


@contextmanager
def stored_origins(
    context: Context, origins: Mapping[str, Origin]
) -> Iterator[list[dict[str, Any]]]:
    """Keep a copy for each new fit, by its id; the rows that name them, to be committed.

    Where the block raises, nothing of them stays.
    """
    try:
        yield [row for fit_id in origins for row in _store(context, origins[fit_id], fit_id)]
    except BaseException as error:
        # Whether a commit was made whose answer was lost, only the rows know: the sweeper looks.
        if not isinstance(error, DatabaseError):
            for fit_id in origins:
                discard(context.storage.delete_below, f"fits/{fit_id}")
        raise


def _store(context: Context, origin: Origin, fit_id: str) -> list[dict[str, Any]]:
    kept = ((START, origin.weights), (START_STATE, origin.state))
    return [
        store_artifact(context, fit_id, 0, name, content)
        for name, content in kept
        if content is not None
    ]

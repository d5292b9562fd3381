"""What an installation's object store has, whichever kind it is."""

import math

from service.context import Context

_TOPS = ("checkpoints", "datasets", "errands", "fits")
_SCRATCH = ("scratch/*/*", "objects/.scratch/*/*")


def stored(context: Context) -> list[str]:
    """The keys of all objects, and the paths of files that are being made."""
    keys = [key for top in _TOPS for key in context.storage.keys_below(top, math.inf)]
    data_dir = context.settings.data_dir
    being_made = [path for pattern in _SCRATCH for path in data_dir.glob(pattern)]
    return sorted([*keys, *map(str, being_made)])

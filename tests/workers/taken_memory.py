"""What a fit takes of a worker's process: `python -m tests.workers.taken_memory`.

Each line of its standard input has a data directory and two requests; it is answered with the bytes
by which the second fit let the most grow that the process holds at once. The first one is a small
one of its kind: what the process loads for that is its own.
"""

import json
import sys
from contextlib import closing
from pathlib import Path

from service import fits, submission
from service.context import Context, open_context
from service.schemas.fits import FitRequest
from service.settings import Settings
from service.telemetry import configure_logging
from tests.service.conftest import OWNER
from tests.workers.running import run_all
from workers.memory_bound import MemoryBound
from workers.peak_memory import peak_bytes
from workers.runner import warm_up

_MOST_BYTES = 2**62


def run(context: Context, body: object) -> None:
    """One fit, from its request to its end, which must be a good one."""
    fit = submission.submit(context, FitRequest.model_validate(body), owner=OWNER)
    run_all(context)
    ended = fits.get_fit(context, fit["id"], OWNER)
    assert ended["status"] == "succeeded", ended["error"]


def taken(data_dir: str, small: object, large: object) -> int:
    """The bytes that the larger fit takes of a process that has done a smaller one."""
    with closing(open_context(Settings(data_dir=Path(data_dir)))) as context:
        run(context, small)
        # It gives back what is free, and forgets the peak.
        MemoryBound(_MOST_BYTES)
        before = peak_bytes()
        run(context, large)
        return peak_bytes() - before


def main() -> None:
    """Answer every line."""
    # On stderr.
    configure_logging(Settings())
    warm_up()
    for line in sys.stdin:
        sys.stdout.write(f"{taken(*json.loads(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

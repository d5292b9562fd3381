"""`python -m tests.faults`: a long campaign of faults against a real service, and its summary."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import verdict
from tests.faults.campaign import Outcome, run
from tests.faults.parts import Production, production
from tests.faults.running import running
from tests.installations import EMBEDDED, INSTALLATIONS
from tests.receiver import SECRET, receiving

_DISK_BYTES = 512 * 1024**2
ENVIRONMENT = {
    "THALWEG_WEBHOOK_SECRET": SECRET,
    "THALWEG_WEBHOOK_ALLOW_PRIVATE": "true",
    "THALWEG_CHECKPOINT_SECONDS": "0.5",
    # Longer than any lock is held between an object and its row.
    "THALWEG_ORPHAN_SECONDS": "15",
    # A fit may be hit over and over here, and must come through all the same.
    "THALWEG_MAX_ATTEMPTS": "1000",
}


def main() -> int:
    """0 where everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--injections", type=int, default=300)
    parser.add_argument("--installation", choices=INSTALLATIONS, default=EMBEDDED)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thalweg-faults-") as directory:
        log = Path(directory) / "data.log"
        with (
            small_disk(Path(directory)) as (data_dir, is_small),
            receiving() as receiver,
            _installed(asked.installation) as installation,
        ):
            _say("the disk is small: it can be filled" if is_small else "no disk can be filled")
            try:
                with running(data_dir, ENVIRONMENT | installation.environment) as service:
                    outcome = run(
                        service,
                        receiver,
                        seed=asked.seed,
                        n_injections=asked.injections,
                        small_disk=is_small,
                        parts=installation.parts,
                        say=_say,
                    )
            finally:
                kept = Path(tempfile.gettempdir()) / "thalweg-faults.log"
                kept.write_bytes(log.read_bytes())
        _summarize(outcome, asked.seed, kept)
    return 1 if outcome.wrong else 0


@contextmanager
def _installed(kind: str) -> Iterator[Production]:
    if kind == EMBEDDED:
        yield Production({}, {})
        return
    with production() as made:
        # What looks for leftovers reaches the bucket like the service.
        os.environ.update(made.environment)
        yield made


@contextmanager
def small_disk(directory: Path) -> Iterator[tuple[Path, bool]]:
    """A data directory, a small file system of its own where this process may mount one."""
    data_dir = directory / "data"
    data_dir.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(data_dir))
    is_small = sys.platform == "linux" and _succeeds(mount)
    try:
        yield data_dir, is_small
    finally:
        if is_small:
            subprocess.run(["umount", "--lazy", str(data_dir)], check=True)


def _succeeds(command: tuple[str, ...]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _summarize(outcome: Outcome, seed: int, log: Path) -> None:
    _say("")
    for name, n in outcome.injections.most_common():
        _say(f"{n:6d}  {name}")
    _say(f"{outcome.injections.total():6d}  injections in {outcome.seconds:.0f} s, seed {seed}")
    _say(f"{len(outcome.accepted):6d}  jobs were taken; {outcome.n_lost_answers} answers were lost")
    for attempt, n in sorted(verdict.attempts(outcome.accepted).items()):
        _say(f"{n:6d}  ended at attempt {attempt}")
    _say(f"{len(outcome.wrong):6d}  things are wrong" + (f"; see {log}" if outcome.wrong else ""))
    for line in outcome.wrong:
        _say(f"        {line}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""A peer in a process of its own, which computes when it is asked and sleeps in between."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.lineup import Peer
from tests.benchmarks.workloads import Work

_ROOT = Path(__file__).parents[2]
_PEERS_PYTHON = _ROOT / ".venv-bench" / "bin" / "python"
# They make OpenBLAS take the kernels of another processor, and so numpy slower than it is.
_UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def unset_variables() -> list[str]:
    """The variables of this process that its peers do without."""
    return [name for name in _UNSET if name in os.environ]


class PeerProcess:
    """A peer's process, from when it is started until the block around it ends.

    Raises FileNotFoundError where the peers' environment has not been made.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        python = Path(sys.executable) if peer.is_ours else _PEERS_PYTHON
        if not python.exists():
            raise FileNotFoundError(f"there is no {python}: `make bench` makes it")
        self._process = subprocess.Popen(
            [python, "-m", f"tests.benchmarks.peers.{peer.module}", *peer.arguments],
            cwd=_ROOT,
            env={name: value for name, value in os.environ.items() if name not in _UNSET},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def prepare(self, work: Work) -> dict[str, str]:
        """Let it make the work's data, and compile; the versions that it has."""
        versions: dict[str, str] = self._ask({"work": work.as_json()})["versions"]
        return versions

    def run(self, calls: int) -> tuple[list[float], dict[str, Any]]:
        """Let it run so often: the seconds of each run, and the last one's figures."""
        answer = self._ask({"calls": calls})
        return answer["seconds"], answer["figures"]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Raises RuntimeError where it ends instead of answering; it has told why by then."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"{self.peer.name} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def started(peers: tuple[Peer, ...]) -> Iterator[list[PeerProcess]]:
    """Each peer in a process of its own; all of them end with the block."""
    with ExitStack() as stack:
        processes = []
        for peer in peers:
            process = PeerProcess(peer)
            stack.callback(process.close)
            processes.append(process)
        yield processes

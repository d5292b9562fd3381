"""What the directions of imports are for, seen from outside."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent

_START_THE_API = """
import sys
from pathlib import Path
from service.api import create_app
from service.settings import Settings
create_app(Settings(data_dir=Path(sys.argv[1])))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""

_START_THE_WORKER = """
import sys
import workers.app, workers.tasks
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def imported_by(program: str, *arguments: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after the program."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_the_api_starts_without_what_only_workers_need(tmp_path: Path) -> None:
    modules = imported_by(_START_THE_API, str(tmp_path))
    assert "flask" in modules
    assert not modules & {"workers", "torch", "numba", "matplotlib", "sklearn", "scipy"}


def test_a_workers_main_process_starts_without_the_engines_weight() -> None:
    modules = imported_by(_START_THE_WORKER)
    assert "celery" in modules
    assert not modules & {"flask", "torch", "numba", "matplotlib", "sklearn", "scipy"}

"""Loops are compiled once a machine, and anew where their sources change."""

import importlib
import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.engine import compiled, kernel_losses
from workers.engine.compiling_once import compile_once

ROOT = Path(__file__).parents[3]
LOOP = """
from workers.engine.compiled import compiled
from workers.engine.kernel_part import doubled

@compiled
def loop(x):
    return doubled(x) + 1.0
"""
PART = """
from workers.engine.compiled import internal

@internal
def doubled(x):
    return {factor} * x
"""
COUNTED = (
    "from workers.engine.kernel_loop import loop\n"
    "print(loop(3.0), sum(loop.stats.cache_hits.values()))\n"
)


@pytest.fixture
def engine(tmp_path: Path) -> Callable[[float], list[str]]:
    """Writes a loop that calls a part with this factor, and runs it in a process of its own."""
    package = tmp_path / "workers" / "engine"
    package.mkdir(parents=True)
    for name in ("compiled.py", "compiled_parts.py"):
        shutil.copy(ROOT / "workers" / "engine" / name, package)
    for directory in (package, package.parent):
        (directory / "__init__.py").touch()
    (package / "kernel_loop.py").write_text(LOOP)
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}

    def run(factor: float) -> list[str]:
        (package / "kernel_part.py").write_text(PART.format(factor=factor))
        return subprocess.run(
            [sys.executable, "-B", "-c", COUNTED],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout.split()

    return run


def test_what_was_compiled_is_kept_until_a_part_changes(
    engine: Callable[[float], list[str]],
) -> None:
    assert engine(2.0) == ["7.0", "0"]
    assert engine(2.0) == ["7.0", "1"]
    # numba itself looks at the file of the loop alone
    assert engine(5.0) == ["16.0", "0"]


def test_a_loop_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="must stand in one of"):
        compiled.compiled(lambda x: x)
    assert Path(kernel_losses.__file__) in compiled.sources()


def test_every_tuple_that_a_loop_reads_stands_in_a_source() -> None:
    # given all modules whose text the kept machine code goes by
    sources = set(compiled.sources())
    modules = [importlib.import_module(f"workers.engine.{path.stem}") for path in sources]

    # when the tuples that they define or import are looked up
    tuples = {
        one
        for module in modules
        for one in vars(module).values()
        if inspect.isclass(one) and issubclass(one, tuple) and hasattr(one, "_fields")
    }

    # then each is defined in one of them
    assert tuples
    assert {one.__name__ for one in tuples if Path(inspect.getfile(one)) not in sources} == set()


def test_processes_share_out_what_is_to_be_compiled(tmp_path: Path) -> None:
    # given three processes that start at once, each of which says what it did of two parts
    program = (
        "import sys, time\n"
        "from functools import partial\n"
        "from pathlib import Path\n"
        "from workers.engine.compiling_once import compile_once\n"
        "directory = Path(sys.argv[1])\n"
        "def compile_all(part):\n"
        "    code = directory / part\n"
        "    print('loads' if code.exists() else 'compiles', part, flush=True)\n"
        # Not before another one has the other part: as long as each has only its own lock.
        "    deadline = time.monotonic() + 30\n"
        "    code.with_suffix('.begun').touch()\n"
        "    while len([*directory.glob('*.begun')]) < 2 and time.monotonic() < deadline:\n"
        "        time.sleep(0.01)\n"
        "    code.touch()\n"
        "compile_once([partial(compile_all, 'a'), partial(compile_all, 'b')], directory)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    said = [process.communicate(timeout=60)[0].splitlines() for process in processes]

    # then two of them compile a part each, and load the other's; one loads both
    both = {"a", "b"}
    assert sorted(line for lines in said for line in lines if line.startswith("compiles")) == [
        "compiles a",
        "compiles b",
    ]
    assert all({line.split()[1] for line in lines} == both for lines in said)
    assert sorted(len([line for line in lines if "compiles" in line]) for lines in said) == [
        0,
        1,
        1,
    ]


def test_who_fails_leaves_it_to_the_next(tmp_path: Path) -> None:
    def fail() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        compile_once([fail], tmp_path)
    called: list[int] = []
    compile_once([lambda: called.append(1)], tmp_path)
    compile_once([lambda: called.append(2)], tmp_path)
    compile_once([lambda: called.append(3)], None)

    assert called == [1, 2, 3]


def test_no_loop_is_compiled_by_two_parts_of_the_warming() -> None:
    # numba's index of what it keeps of a loop is not made for two processes that add to it at once.
    program = (
        "import gc\n"
        "from numba.core.caching import NullCache\n"
        "from numba.core.dispatcher import Dispatcher\n"
        "from workers.engine import warming\n"
        "def kept():\n"
        "    loops = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]\n"
        "    kept = [one for one in loops if not isinstance(one._cache, NullCache)]\n"
        "    return {one.py_func.__qualname__ for one in kept if one.signatures}\n"
        "for part in warming.PARTS:\n"
        "    before = kept()\n"
        "    part()\n"
        "    print(*sorted(kept() - before))\n"
    )

    shown = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()

    each = [set(line.split()) for line in shown]
    assert len(each) == 2
    assert all(each)
    assert each[0] & each[1] == set()

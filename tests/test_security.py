"""Nothing is unpickled, no text of a client's is slow to look up or makes a line of the log.

Numba keeps compiled loops on disk in pickles of its own, below the service's own directory: no
client's byte is in them, and no module of ours reads or writes one.
"""

import ast
import io
import json
import logging
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import kombu.serialization
import numpy as np
import pytest
import structlog
from gunicorn.config import Config
from gunicorn.glogging import Logger
from kombu.exceptions import ContentDisallowed
from numpy.typing import NDArray

from service.errors import ThalwegError
from service.queue import make_celery
from service.schemas.datasets import DatasetRequest
from service.settings import Settings
from service.tables.ingest import ingest
from service.tables.inline import inline_pieces
from service.telemetry import configure_logging
from tests.logs import events_in, written_log

ROOT = Path(__file__).parent.parent
SOURCES = [path for package in ("service", "workers") for path in (ROOT / package).rglob("*.py")]

PICKLING_MODULES = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal",
}  # fmt: skip
PICKLING_CALLS = {"torch.load", "torch.save"}
# These pickle unless they are told not to.
UNLESS_TOLD = {
    "numpy.load", "numpy.save", "numpy.savez", "numpy.savez_compressed",
    "numpy.lib.format.read_array", "numpy.lib.format.write_array",
}  # fmt: skip


def pickling(source: str) -> Iterator[str]:
    """What the Python source does that pickles, or may."""
    tree = ast.parse(source)
    imported = dict(_imported(tree))
    for name in imported.values():
        if name.partition(".")[0] in PICKLING_MODULES or name in PICKLING_CALLS:
            yield f"imports {name}"
    for node in ast.walk(tree):
        # A serializer's name, or what is imported by its name.
        if isinstance(node, ast.Constant) and node.value in PICKLING_MODULES:
            yield f"names {node.value}"
        elif isinstance(node, ast.Attribute) and _full_name(node, imported) in PICKLING_CALLS:
            yield f"uses {_full_name(node, imported)}"
        elif isinstance(node, ast.Call):
            yield from _pickling_call(node, imported)


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each imported name, and what it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                # `import a.b` binds `a`, but loads both.
                yield (one.asname or one.name.partition(".")[0], one.name if one.asname else "")
                yield (one.name, one.name)
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                yield (one.asname or one.name, f"{node.module or ''}.{one.name}")


def _full_name(node: ast.expr, imported: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_full_name(node.value, imported)}.{node.attr}"
    name = node.id if isinstance(node, ast.Name) else ""
    return imported.get(name) or name


def _pickling_call(node: ast.Call, imported: dict[str, str]) -> Iterator[str]:
    told = {
        keyword.arg: getattr(keyword.value, "value", None)
        for keyword in node.keywords
        if keyword.arg is not None
    }
    name = _full_name(node.func, imported)
    if "allow_pickle" in told and told["allow_pickle"] is not False:
        yield "says allow_pickle"
    elif name in UNLESS_TOLD and "allow_pickle" not in told:
        yield f"calls {name} without allow_pickle=False"


@pytest.mark.parametrize(
    "source",
    [
        *(f"import {module}" for module in sorted(PICKLING_MODULES)),
        "import pickle as p",
        "from pickle import loads",
        "from joblib.numpy_pickle import load",
        "def late():\n    import dill",
        "importlib.import_module('pickle')",
        "app.conf.task_serializer = 'pickle'",
        "import torch\ntorch.load(path)",
        "import torch as t\nread = t.load",
        "from torch import save",
        "import numpy as np\nnp.load(path)",
        "import numpy\nnumpy.save(path, array)",
        "from numpy import savez as keep\nkeep(path, a=array)",
        "from numpy.lib import format as npy\nnpy.read_array(file)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "read(path, allow_pickle=wanted)",
    ],
)
def test_the_search_sees_every_way_to_pickle(source: str) -> None:
    assert list(pickling(source))


def test_the_search_lets_other_formats_be() -> None:
    source = "import numpy as np\nnp.savez(file, allow_pickle=False, a=array)\nsafe.load(content)"

    assert not list(pickling(source))


def test_nothing_of_the_service_or_the_workers_pickles() -> None:
    found = {str(path): [*pickling(path.read_text())] for path in SOURCES}

    assert len(found) > 100
    assert {path: ways for path, ways in found.items() if ways} == {}


@pytest.mark.parametrize("name", sorted(PICKLING_MODULES | PICKLING_CALLS))
def test_the_hook_forbids_what_the_search_finds(name: str) -> None:
    module, _, function = name.partition(".")
    source = f"from {module} import {function or module}\n" if function else f"import {module}\n"

    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "service/stored.py", "-"],
        input=source,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "TID251" in checked.stdout
    # What a commit runs.
    assert "entry: make check" in (ROOT / ".pre-commit-config.yaml").read_text()
    assert "ruff check ." in (ROOT / "Makefile").read_text()


def test_the_hook_forbids_nothing_else() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]

    banned = linter["flake8-tidy-imports"]["banned-api"]

    assert set(banned) == PICKLING_MODULES | PICKLING_CALLS


def test_messages_to_workers_are_json_alone(tmp_path: Path) -> None:
    conf = make_celery(Settings(data_dir=tmp_path)).conf

    assert [*conf.accept_content] == ["json"]
    assert conf.result_accept_content in (None, ["json"])
    assert {conf.task_serializer, conf.result_serializer, conf.event_serializer} == {"json"}
    # And a worker that is sent a pickle, here of None, does not open it.
    accepted = kombu.serialization.prepare_accept_content(conf.accept_content)
    with pytest.raises(ContentDisallowed):
        kombu.serialization.loads(b"N.", "application/x-python-serialize", "binary", accepted)


def colliding_texts(n: int) -> list[str]:
    """Texts of 16 bytes that Arrow's hash, which has no secret, takes for one.

    It multiplies the first and the last eight bytes by a constant each, and combines the products
    by XOR (`ComputeStringHash` in Arrow's util/hashing.h).
    """
    of_last, of_first = 11400714785074694791, 14029467366897019727
    inverse = np.uint64(pow(of_last, -1, 2**64))
    rng = np.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < n:
        first = _letters(rng, 1_000_000)
        last = first * np.uint64(of_first) * inverse
        ascii_alone = (last & np.uint64(0x8080808080808080)) == 0
        both = np.stack([first[ascii_alone], last[ascii_alone]], axis=1)
        texts = [row.tobytes().decode() for row in both]
        # A space at the end, which some control characters are too, would be cut off.
        found |= dict.fromkeys(text for text in texts if text == text.rstrip())
    return [*found][:n]


def ordinary_texts(n: int) -> list[str]:
    """As many letters each."""
    both = _letters(np.random.default_rng(1), 2 * n).reshape(n, 2)
    return [row.tobytes().decode() for row in both]


def _letters(rng: np.random.Generator, n: int) -> NDArray[np.uint64]:
    """Eight letters each, as the number that their bytes are."""
    bits = rng.integers(0, 2**64, n, np.uint64) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return bits + np.uint64(0x6161616161616161)


def seconds_to_read(body: dict[str, Any]) -> float:
    """The processor's time, so that a busy machine does not count."""
    content = json.dumps(body).encode()
    began = time.process_time()
    # More than a table may have is refused, but only once it has been counted.
    with suppress(ThalwegError), TemporaryDirectory() as directory:
        request = DatasetRequest.model_validate_json(content)
        pieces = inline_pieces(request, 10_000_000)
        ingest(pieces, "refuse", Path(directory) / "table.arrow")
    return time.process_time() - began


# Python takes the integers that are multiples of this for one.
PRIME = sys.hash_info.modulus
# What many texts, or many whole numbers, make.
TABLES: dict[str, Callable[[list[str], list[int]], dict[str, Any]]] = {
    "category texts": lambda texts, _: {"columns": {"x": texts}},
    "column names": lambda texts, _: {"columns": {text: [1.0] for text in texts}},
    "keys of objects": lambda texts, _: {"rows": [dict.fromkeys(texts, 1.0)]},
    "numbers": lambda _, numbers: {"columns": {"x": numbers}},
}


@pytest.fixture(scope="module")
def colliding() -> tuple[list[str], list[int]]:
    """Texts, and numbers, that collide."""
    return colliding_texts(30_000), [k * PRIME for k in range(30_000)]


@pytest.fixture(scope="module")
def ordinary() -> tuple[list[str], list[int]]:
    """As many that do not."""
    return ordinary_texts(30_000), [k * 2**61 + k for k in range(30_000)]


def test_the_texts_and_numbers_do_collide(colliding: tuple[list[str], list[int]]) -> None:
    texts, numbers = colliding
    assert len(set(texts)) == 30_000
    assert {hash(number) for number in numbers} == {0}


@pytest.mark.parametrize("what", TABLES)
def test_what_collides_in_a_hash_takes_no_longer(
    what: str, colliding: tuple[list[str], list[int]], ordinary: tuple[list[str], list[int]]
) -> None:
    # Once before, so that neither pays for what is loaded at its first use.
    seconds_to_read({"columns": {"x": ["a"], "y": [1.0]}})

    expected = seconds_to_read(TABLES[what](*ordinary))

    assert seconds_to_read(TABLES[what](*colliding)) < 10 * expected


def test_no_process_of_ours_has_hashes_that_can_be_foretold() -> None:
    others = [ROOT / "Makefile", ROOT / "docker-compose.yml", *ROOT.glob("*/Dockerfile")]

    assert sys.flags.hash_randomization
    assert [str(p) for p in [*SOURCES, *others] if "PYTHONHASHSEED" in p.read_text()] == []


FORGED = '{"event": "forged"}'
HOSTILE_TEXTS = {
    "line feeds": f"a\n{FORGED}\n",
    "carriage returns": f"a\r{FORGED}\r",
    "both": f"a\r\n{FORGED}\r\n",
    "separators of Unicode": f"a\x85{FORGED}\u2028{FORGED}\u2029",
    "a member of JSON": '", "event": "forged", "x": "',
    "an object of JSON": '"}\n{"event": "forged", "x": "',
    "sequences of a terminal": "\x1b[2K\x1b[1A\x1b]0;forged\x07",
    "control characters": "\x00\x08\x7f\x9b31m",
    "places to fill": "%s %(event)s {event}",
}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the configured log writes."""
    return written_log(Settings(data_dir=tmp_path), monkeypatch)


def _crashed(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger("ours").exception("crashed")


# Each way in which a client's text can come into the log.
LOGGED: dict[str, Callable[[str], object]] = {
    "value": lambda text: structlog.get_logger("ours").warning("told", value=text),
    "nested value": lambda text: structlog.get_logger("ours").warning("told", value=[{text: text}]),
    "event": lambda text: structlog.get_logger("ours").warning(text),
    "error": _crashed,
    "logger": lambda text: structlog.get_logger(f"ours.{text}").warning("told"),
    "library": lambda text: logging.getLogger("library").warning("it failed: %s", text),
    "library's message": lambda text: logging.getLogger("library").warning(text),
}


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
@pytest.mark.parametrize("way", LOGGED)
def test_a_hostile_text_stays_within_its_line(written: io.StringIO, way: str, text: str) -> None:
    LOGGED[way](text)

    (event,) = events_in(written)

    assert event["event"] != "forged"
    assert text in _texts_of(event) or way == "library"


def _texts_of(value: Any) -> str:
    """All texts of a JSON value."""
    if isinstance(value, dict):
        return "\0".join(map(_texts_of, [*value, *value.values()]))
    if isinstance(value, list):
        return "\0".join(map(_texts_of, value))
    return str(value)


def test_what_is_bound_to_a_request_stays_within_its_line(written: io.StringIO) -> None:
    for text in HOSTILE_TEXTS.values():
        with structlog.contextvars.bound_contextvars(request_id=text, traceparent=text):
            structlog.get_logger("ours").info("told")

    assert [(one["event"], one["request_id"]) for one in events_in(written)] == [
        ("told", text) for text in HOSTILE_TEXTS.values()
    ]


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_what_gunicorn_says_of_a_request_stays_within_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    # given gunicorn's own log, as it is when the app is made
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    gunicorn = Logger(Config())
    configure_logging(Settings(data_dir=tmp_path))

    gunicorn.warning(f"Invalid request from ip=127.0.0.1: {text}")

    (event,) = events_in(stream)
    assert event["logger"] == "gunicorn.error"

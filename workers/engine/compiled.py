"""How the engine's loops are compiled."""

import hashlib
import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numba.extending
from llvmlite.ir import Constant
from numba.core import cgutils, types
from numba.misc.appdirs import AppDirs

from workers.engine.compiled_parts import PartCompiler

Loop = TypeVar("Loop", bound=Callable[..., Any])

_HERE = Path(__file__).parent
_CONFIG: Any = numba.config
_NJIT: Any = numba.njit
# Every module whose code ends in a compiled loop: its functions, the constants they read, and the
# fields of the tuples that they are given.
SOURCES = ("compiled*.py", "kernel*.py", "*_loops.py", "normal_problem.py")
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
}
# A product and a sum may be rounded once, as the CPU's kind can; nothing else may change.
_FUSED: dict[str, Any] = _OPTIONS | {"fastmath": {"contract"}}


def sources() -> list[Path]:
    """The files of `SOURCES`, sorted."""
    return sorted(path for pattern in SOURCES for path in _HERE.glob(pattern))


def source_digest() -> str:
    """Another one for every other text of the sources."""
    digest = hashlib.sha256()
    for path in sources():
        text = path.read_bytes()
        digest.update(f"{path.name} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:16]


def compiled(loop: Loop) -> Loop:
    """Compile with numba at the first call, and keep the machine code on disk for later processes.

    Sums are taken in the order in which they are written, so that the same numbers give the same
    bits on the same kind of CPU. Other Python threads run while the loop does. The code is kept
    below `NUMBA_CACHE_DIR`, else beside the sources or in the user's cache.
    """
    return _kept(loop, _FUSED)


def compiled_to_the_letter(loop: Loop) -> Loop:
    """As `compiled`, but rounded after every operation.

    For recurrences of torch's own, and for what several loops call: each might fuse it its own way.
    """
    return _kept(loop, _OPTIONS)


def _kept(loop: Loop, options: dict[str, Any]) -> Loop:
    _refuse_unknown_source(loop)
    with _cached_by_digest():
        return cast(Loop, _NJIT(cache=True, **options)(loop))


def internal(loop: Loop) -> Loop:
    """Compile for calls from compiled loops alone, which keep its machine code with theirs."""
    return _bare(loop, _FUSED, forceinline=False)


def internal_to_the_letter(loop: Loop) -> Loop:
    """As `internal`, but rounded after every operation."""
    return _bare(loop, _OPTIONS, forceinline=False)


def inlined(loop: Loop) -> Loop:
    """Compile as a part of whichever compiled loop calls it.

    For what a step calls once or more: handing over a tuple of arrays costs as much as a hundred
    rows.
    """
    return _bare(loop, _FUSED, forceinline=True)


def inlined_to_the_letter(loop: Loop) -> Loop:
    """As `inlined`, but rounded after every operation."""
    return _bare(loop, _OPTIONS, forceinline=True)


def _bare(loop: Loop, options: dict[str, Any], *, forceinline: bool) -> Loop:
    _refuse_unknown_source(loop)
    bare = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "forceinline": forceinline}
    return cast(Loop, _NJIT(pipeline_class=PartCompiler, **options, **bare)(loop))


def instruction(typed: Loop) -> Loop:
    """Let compiled loops call what `typed` writes in LLVM's language, as numba's intrinsics do."""
    _refuse_unknown_source(typed)
    return cast(Loop, numba.extending.intrinsic(typed))


def _typed_borrowed(typing: Any, value: Any) -> Any:
    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _without_owners(context, builder, value, values[0])

    return value(value), write


def _without_owners(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value=value)
        array.meminfo = Constant(array.meminfo.type, None)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        kinds: Any = kind
        members = zip(kinds.types, cgutils.unpack_tuple(builder, value), strict=True)
        bare = [_without_owners(context, builder, *member) for member in members]
        return context.make_tuple(builder, kind, bare)
    return value


def _refuse_unknown_source(loop: Callable[..., Any]) -> None:
    if Path(inspect.getfile(loop)) not in sources():
        raise ValueError(f"{loop.__qualname__} must stand in one of {', '.join(SOURCES)}")


@contextmanager
def _cached_by_digest() -> Iterator[None]:
    """Have numba keep what it compiles in a directory of the sources' digest.

    numba itself looks at the called function's own file, and would go on with machine code of
    what that one calls in other files.
    """
    given = _CONFIG.CACHE_DIR
    _CONFIG.CACHE_DIR = str(DIRECTORY or "")
    try:
        yield
    finally:
        _CONFIG.CACHE_DIR = given


def _cache_directory() -> Path | None:
    """The first one that can be written; None leaves the search to numba."""
    given = [_CONFIG.CACHE_DIR] if _CONFIG.CACHE_DIR else []
    user = AppDirs(appname="thalweg", appauthor=False).user_cache_dir
    for base in (*given, _HERE / "__pycache__", user):
        directory = Path(base) / f"kernels-{source_digest()}"
        if _can_write(directory):
            return directory
    return None


def _can_write(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError:
        return False
    return True


# Where machine code is kept, if it can be.
DIRECTORY = _cache_directory()
# A tuple of arrays, or of such tuples, without what counts how often each array is referred to.
# A loop's caller holds its arrays: counting them anew at every call would cost more than a step.
borrowed: Callable[..., Any] = instruction(_typed_borrowed)

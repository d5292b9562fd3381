"""How numba compiles what only other compiled loops call.

numba optimizes each function by itself, makes machine code of it, and does both again with all
that calls it, at every level. A part is left as it is until its last caller is optimized, which
halves the time that all loops take.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import AnnotateTypes


class _PartLibrary(JITCodeLibrary):
    """Code that is not run but in its callers."""

    def _optimize_final_module(self) -> None:
        """Its callers will be."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]
        self._finalized = True

    @property
    def codegen(self) -> "_PartLibrary":
        """Whom numba tells of a function's environment."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """There is no machine code to tell of it; nor does a loop look at Python's objects."""


@register_pass(mutates_CFG=False, analysis_only=True)
class _MakePart(LoweringPass):
    """Has the code written into a `_PartLibrary`."""

    _name = "make_part"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Before any code is written."""
        part: Any = _PartLibrary
        state.library = part(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


class PartCompiler(CompilerBase):
    """numba's own passes, but for where the code goes: a `pipeline_class`."""

    def define_pipelines(self) -> list[Any]:
        """The one way of compiling."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_MakePart, AnnotateTypes)
        passes.finalize()
        return [passes]

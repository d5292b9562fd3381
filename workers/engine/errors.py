"""What the engine refuses.

EngineError
└── SpecificationError   the specification cannot be fitted to these data
"""


class EngineError(Exception):
    """The root of the engine's own errors."""


class SpecificationError(EngineError):
    """The specification cannot be fitted; `pointer` is a JSON Pointer to what to mend."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail

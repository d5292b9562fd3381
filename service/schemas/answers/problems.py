"""Errors as they are answered (RFC 9457)."""

from service.schemas.answers.common import Answer


class ProblemPlace(Answer):
    """One thing to mend: a JSON Pointer into the body, or a row and column of a table."""

    code: str
    detail: str
    pointer: str | None = None
    row: int | None = None
    column: str | None = None


class Problem(Answer):
    """An error by RFC 9457; `code` is a stable word."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[ProblemPlace] = []

"""What checks came to, as it is answered."""

from typing import Literal

from service.schemas.answers.common import Answer


class CheckOutcome(Answer):
    """What a check came to.

    `first_step` is the first step of a history that leaves the tolerance, `index` where the largest
    difference is, after the array's name in a trajectory; both null where there is none.
    """

    target: str
    name: str | None
    hidden: bool
    status: Literal["passed", "failed", "not_evaluated"]
    points: float
    max_abs_difference: float | None
    first_step: int | None
    index: list[int | str] | None
    reason: str


class CheckOutcomes(Answer):
    """Checks with the points of those that passed; null where one was not evaluated."""

    checks: list[CheckOutcome]
    score: float | None
    max_score: float
    passed: bool | None


class GradescopeTest(Answer):
    """A check as Gradescope reads it; without a score where it was not evaluated."""

    name: str
    number: str
    max_score: float
    output: str
    visibility: Literal["visible", "hidden"]
    score: float | None = None
    status: Literal["passed", "failed"] | None = None


class GradescopeResults(Answer):
    """The `results.json` of a Gradescope autograder."""

    visibility: Literal["visible"]
    tests: list[GradescopeTest]
    score: float | None = None

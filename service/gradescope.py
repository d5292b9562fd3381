"""Checks as Gradescope's autograders report them.

The shape is that of `results.json` in Gradescope's documentation of autograder output.
"""

from collections.abc import Mapping
from typing import Any

MEDIA_TYPE = "application/vnd.gradescope+json"


def results(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of `service.checking` as a results file.

    A check that was not evaluated has no score, and then the whole has none: Gradescope shows that
    the autograder failed, and no student gets a 0 for it.
    """
    whole = {} if summary["score"] is None else {"score": summary["score"]}
    return {
        **whole,
        "visibility": "visible",
        "tests": [_test(i, check) for i, check in enumerate(summary["checks"], start=1)],
    }


def _test(number: int, check: Mapping[str, Any]) -> dict[str, Any]:
    passed = check["status"] == "passed"
    scored = {
        "score": check["points"] if passed else 0,
        "status": "passed" if passed else "failed",
    }
    return {
        **({} if check["status"] == "not_evaluated" else scored),
        "max_score": check["points"],
        "name": check["name"] or check["target"],
        "number": str(number),
        "output": check["reason"],
        "visibility": "hidden" if check["hidden"] else "visible",
    }

"""Numbers that are too large, and lists that lie too deep, are told of with their place."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from service.context import Context
from service.fits import fit_row

DATASET = '{"columns": {"x": [1, 2, 3], "y": [2, 3, 4.5]}}'
HUGE = "1" + 400 * "0"


def post(http: FlaskClient, path: str, body: str) -> tuple[int, Any]:
    answer = http.post(path, data=body, content_type="application/json")
    return answer.status_code, answer.get_json(force=True)


def fit(more: str, length: str = '"steps": 3') -> str:
    return f'{{"dataset": {DATASET}, "target": "y", {length}, {more}}}'


def checked(expected: str) -> str:
    return fit(f'"checks": [{{"target": "final_loss", "expected": {expected}}}]')


@pytest.mark.parametrize(
    ("expected", "code"),
    [
        (HUGE, "finite_number"),
        (f"[[-{HUGE}]]", "finite_number"),
        ("[" * 9 + "1" + "]" * 9, "too_many_dimensions"),
        ("[" * 70 + "1" + "]" * 70, "too_many_dimensions"),
        ('{"weight": ' + "[" * 70 + "1" + "]" * 70 + "}", "too_many_dimensions"),
    ],
)
def test_an_expectation_that_no_number_can_meet_is_refused(
    http: FlaskClient, expected: str, code: str
) -> None:
    alone, _ = post(http, "/v1/fits", checked(expected))
    status, problem = post(http, "/v1/batches", f'{{"fits": [{checked(expected)}]}}')

    # What no float holds makes a body no JSON, as 1e999 does.
    assert alone == (400 if HUGE in expected else 422)
    assert status == 422
    assert [(place["code"], place["pointer"]) for place in problem["errors"]] == [
        (code, "/fits/0/checks/0/expected")
    ]


def test_six_hundred_lists_in_each_other_are_refused(http: FlaskClient) -> None:
    status, _ = post(http, "/v1/fits", checked("[" * 600 + "1" + "]" * 600))
    line = checked("[" * 600 + "1" + "]" * 600).encode()
    lines = http.post("/v1/batches", data=line, content_type="application/x-ndjson")

    assert status in (400, 422)
    assert lines.status_code == 422


def test_a_whole_number_past_64_bits_is_compared_as_a_float(
    http: FlaskClient, context: Context
) -> None:
    status, taken = post(http, "/v1/fits", checked(str(10**30)))

    assert status == 202
    assert fit_row(context, taken["id"])["spec"]["checks"][0]["expected"] == 1e30


@pytest.mark.parametrize("path", ["steps", "epochs", "batch_size", "record.every"])
def test_counts_past_64_bits_are_refused_with_their_place(http: FlaskClient, path: str) -> None:
    length = '"epochs": 3' if path == "steps" else '"steps": 3'
    base = fit('"seed": 0', length if path not in ("steps", "epochs") else '"seed": 0')
    body = f'{{"base": {base}, "grid": {{"{path}": [3, {HUGE}]}}}}'

    status, problem = post(http, "/v1/batches", body)

    assert status == 422
    assert [place["pointer"] for place in problem["errors"]] == [f"/grid/{path}/1"]

"""A client that a generator makes of the OpenAPI document runs a fit."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCUMENT = Path(__file__).parents[2] / "openapi.yaml"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The package that openapi-python-client makes, imported."""
    directory = tmp_path_factory.mktemp("generated")
    programs = Path(sys.executable).parent
    made = subprocess.run(
        [
            *(programs / "openapi-python-client", "generate", "--path", DOCUMENT),
            *("--output-path", directory / "thalweg_client", "--meta", "none"),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    # Pictures and tables are no business of its, but no operation on JSON may be missing.
    assert "will not be generated" not in made.stdout
    assert "Unable to process schema" not in made.stdout
    sys.path.insert(0, str(directory))
    yield importlib.import_module("thalweg_client")
    sys.path.remove(str(directory))


def test_it_runs_a_fit(generated: Any, service_url: str) -> None:
    # given its client, and a fit's body of its types
    create_fit = importlib.import_module("thalweg_client.api.fits.create_fit")
    models = importlib.import_module("thalweg_client.models")
    body = models.FitRequest.from_dict(
        {"dataset": {"columns": {"x": [0, 1, 2], "y": [1, 3, 5]}}, "target": "y", "steps": 50}
    )

    with generated.Client(base_url=service_url) as client:
        answer = create_fit.sync_detailed(client=client, body=body, prefer="wait=60")

    # then the answer is a fit of its types too
    assert answer.status_code == 200
    assert isinstance(answer.parsed, models.Fit)
    assert answer.parsed.status == "succeeded"
    assert answer.parsed.loss_history.n == 50


def test_its_refusals_are_problems(generated: Any, service_url: str) -> None:
    create_fit = importlib.import_module("thalweg_client.api.fits.create_fit")
    models = importlib.import_module("thalweg_client.models")
    body = models.FitRequest.from_dict({"dataset": "ds_none", "target": "y", "steps": 50})

    with generated.Client(base_url=service_url) as client:
        answer = create_fit.sync_detailed(client=client, body=body)

    assert answer.status_code == 404
    assert isinstance(answer.parsed, models.Problem)
    assert answer.parsed.code == "not_found"

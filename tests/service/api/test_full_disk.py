"""A disk without room: the client may come again, and nothing half-made is left."""

import errno
import os

import pytest
from flask.testing import FlaskClient

from service.settings import Settings
from tests.installations import EMBEDDED_ALONE
from tests.service.api.test_problems import FIT, problem


@EMBEDDED_ALONE
@pytest.mark.parametrize(("path", "body"), [
    ("/v1/fits", FIT), ("/v1/datasets", {"columns": {"x": [1, 2]}}),
])  # fmt: skip
def test_a_full_disk_is_for_now(
    http: FlaskClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: dict[str, object],
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        refused = http.post(path, json=body)

    assert problem(refused, 503)["code"] == "unavailable"
    assert refused.headers["Retry-After"]
    assert [file for file in settings.storage_root.rglob("*") if file.is_file()] == []
    assert http.get(path).get_json()["data"] == []
    assert http.post(path, json=body).status_code in (201, 202)

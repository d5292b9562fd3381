"""The README's claims that need no running service."""

import re
from typing import Any

import torch

from service.settings import Settings
from tests import readme
from workers.engine.shuffling import shuffle_rows


def test_the_settings_table_is_the_code() -> None:
    rows = re.findall(r"^\| `(THALWEG_\w+)` \| (.*?) \| (.*) \|$", readme.section("Settings"), re.M)

    assert rows == [
        (
            f"THALWEG_{name.upper()}",
            "" if field.default is None else f"`{field.default}`",
            field.description,
        )
        for name, field in Settings.model_fields.items()
    ]


def test_the_shuffle_that_is_written_down_is_the_engines() -> None:
    written: dict[str, Any] = {}
    exec(readme.code("Shuffling, written down", "python"), written)  # noqa: S102 (our own README)

    for seed, epoch in [(0, 0), (1, 0), (0, 1), (42, 7), (2**63 - 1, 1000)]:
        assert torch.equal(written["rows_in_order"](50, seed, epoch), shuffle_rows(50, seed, epoch))

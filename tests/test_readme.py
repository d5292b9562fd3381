"""The README's claims that need no running service."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from service.settings import Settings
from tests import readme
from workers.engine import Data
from workers.engine.shuffling import shuffle_rows
from workers.engine.splitting import Validation, split_rows


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


def test_every_promise_names_tests_that_are_there() -> None:
    rows = re.findall(r"^\| .* \|$", readme.section("What is promised under which fault"), re.M)[1:]
    sources = [path.read_text() for path in Path(__file__).parent.rglob("test_*.py")]
    there = {name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.M)}

    assert rows
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row))
        assert named, row
        assert named <= there


def test_the_shuffle_that_is_written_down_is_the_engines() -> None:
    written: dict[str, Any] = {}
    exec(readme.code("Shuffling and splits, written down", "python"), written)  # noqa: S102 (our own README)

    for seed, epoch in [(0, 0), (1, 0), (0, 1), (42, 7), (2**63 - 1, 1000)]:
        assert torch.equal(written["rows_in_order"](50, seed, epoch), shuffle_rows(50, seed, epoch))


def test_the_split_that_is_written_down_is_the_engines() -> None:
    written: dict[str, Any] = {}
    for block in readme.section("Shuffling and splits, written down").split("```python\n")[1:]:
        exec(block.split("```", 1)[0], written)  # noqa: S102 (our own README)
    x = np.arange(103.0)[:, None]

    for fraction, seed in [(0.2, 0), (0.5, 7), (0.01, 42), (0.99, 1)]:
        split = split_rows(Data(x, x), Validation(fraction, stratify=False), seed)

        kept = written["training_rows"](103, fraction, seed).tolist()
        assert split.train.read(0, len(kept)).x[:, 0].tolist() == kept
        assert split.validation is not None
        assert split.train.shape.n_rows + split.validation.shape.n_rows == 103

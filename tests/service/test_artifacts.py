"""Artifacts come back to the byte, wherever they were kept."""

import numpy as np
import pytest

from service import lifecycle
from service.artifacts import load_artifact, store_artifact
from service.context import Context
from service.database import fits as queries
from service.errors import Damaged, NotFound
from service.named_arrays import pack
from service.schemas.datasets import DatasetRequest
from tests.service.conftest import OWNER
from tests.service.test_lifecycle import claimed, finish, submit

NOISE = np.random.default_rng(0).normal(size=200_000)


@pytest.mark.parametrize(
    ("content", "in_the_row"),
    [
        (pack({"weight": NOISE[:2]}), True),
        (pack({"step": np.arange(5_000), "loss": NOISE[:4_000]}), True),
        (pack({"loss": NOISE[:20_000]}), False),
        (pack({"weight": np.zeros(1_000_000)}), False),
        (b"", True),
    ],
    ids=["tiny", "compressible", "noise", "huge", "empty"],
)
def test_an_artifact_is_kept_to_the_byte(
    context: Context, table: DatasetRequest, content: bytes, *, in_the_row: bool
) -> None:
    fit_id = submit(context, table)["id"]

    row = store_artifact(context, fit_id, 1, "history", content)
    with context.database.write() as connection:
        queries.insert_artifacts(connection, [row])

    assert (row["storage_key"] is None, row["size_bytes"]) == (in_the_row, len(content))
    assert len(row["content"] or b"") <= context.settings.inline_artifact_bytes
    assert load_artifact(context, fit_id, "history") == content


def test_an_uncompressed_row_of_an_older_version_is_read(
    context: Context, table: DatasetRequest
) -> None:
    fit_id = submit(context, table)["id"]
    content = pack({"step": np.arange(1_000)})
    row = store_artifact(context, fit_id, 1, "history", content) | {"content": content}

    with context.database.write() as connection:
        queries.insert_artifacts(connection, [row])

    assert load_artifact(context, fit_id, "history") == content


@pytest.mark.parametrize(
    ("status", "name", "why"),
    [
        (None, "weights", " yet: it is queued"),
        ("cancelled", "trajectory", ": it is cancelled"),
        ("succeeded", "trajectory", ": its spec has neither record.weights nor record.gradients"),
        ("succeeded", "history", ": its spec has record.final_weights_only"),
    ],
)
def test_what_a_fit_has_not_is_told_with_the_reason(
    context: Context, table: DatasetRequest, status: str | None, name: str, why: str
) -> None:
    fit_id = submit(context, table)["id"]
    if status == "cancelled":
        lifecycle.cancel(context, fit_id, OWNER)
    elif status is not None:
        finish(context, claimed(context, fit_id))

    with pytest.raises(NotFound) as refusal:
        load_artifact(context, fit_id, name)

    assert refusal.value.detail == f"the fit {fit_id} has no {name}{why}"


def test_an_artifact_that_lost_its_end_is_told_and_gives_no_numbers(
    context: Context, table: DatasetRequest
) -> None:
    fit_id = submit(context, table)["id"]
    row = store_artifact(context, fit_id, 1, "weights", pack({"weight": NOISE[:20_000]}))
    with context.database.write() as connection:
        queries.insert_artifacts(connection, [row])
    whole = context.storage.get(row["storage_key"])
    context.storage.put(row["storage_key"], whole[: len(whole) // 2])

    with pytest.raises(Damaged, match="restore it from a backup"):
        load_artifact(context, fit_id, "weights")

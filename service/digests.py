"""The digest by which equal specs are known."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

# What says who asked, where the data lie and what to do with the end; no number depends on it.
_NOT_NUMBERS = ("dataset", "tags", "metadata", "reuse", "priority", "webhook")


def spec_digest(spec: Mapping[str, Any]) -> str:
    """`sha256:…` of all in a resolved spec that its numbers depend on, but the dataset's own."""
    numbers = {key: value for key, value in spec.items() if key not in _NOT_NUMBERS}
    content = orjson.dumps(numbers, option=orjson.OPT_SORT_KEYS)
    return "sha256:" + hashlib.sha256(content).hexdigest()

"""What a job gave, in a form that is equal exactly where every bit of it is."""

from typing import Any

import httpx
import orjson

# What an ended fit tells beside these depends on when and where it ran.
_NUMBERS = (
    "status", "stop_reason", "weights", "coefficients", "final_loss", "loss_history", "metrics",
    "result", "error",
)  # fmt: skip
TERMINAL = ("succeeded", "failed", "cancelled")


def result_of(url: str, shown: dict[str, Any]) -> dict[str, Any]:
    """Every number that the ended job is made of; floats are read back as they were written."""
    if shown["object"] == "batch":
        return {"status": shown["status"], "counts": shown["counts"], "fits": _members(shown)}
    found = {name: shown[name] for name in _NUMBERS if name in shown}
    if shown["object"] == "fit":
        # Every step's numbers, and not only those thinned out for the answer.
        history = httpx.get(f"{url}/v1/fits/{shown['id']}/history.json", timeout=60)
        found["history"] = history.json() if history.status_code == 200 else history.status_code
    return found


def _members(batch: dict[str, Any]) -> list[dict[str, Any]]:
    lines = httpx.get(f"{batch['urls']['self']}/results.ndjson", timeout=60).text.splitlines()
    rows = [orjson.loads(line) for line in lines]
    return [{name: value for name, value in row.items() if name != "id"} for row in rows]

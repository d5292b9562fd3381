"""A fit's request looked at as if it were queued."""

from collections.abc import Mapping
from typing import Any

from service.context import Context
from service.preparation import prepared
from service.schemas.fits import FitRequest


def rehearse(context: Context, request: FitRequest, *, owner: str) -> dict[str, Any]:
    """The resolved spec, and what the fit would take; nothing is queued or kept.

    Raises what `submit` raises of the request. A dataset that the request holds has no id: the
    spec describes it.
    """
    with prepared(context, request, owner) as ready:
        spec = ready.spec
        if ready.new is not None:
            spec = spec | {"dataset": _described(ready.new.row)}
        return {"spec": spec, **ready.estimate}


def _described(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("name", "digest", "n_rows", "size_bytes", "columns")}

"""URLs in answers."""

from typing import Any

from flask import request

from service.api.requests import context
from service.plots import plot_kinds


def base_url() -> str:
    """`THALWEG_PUBLIC_URL`, or where the request came to."""
    return (context().settings.public_url or request.host_url).rstrip("/")


def dataset_url(dataset: dict[str, Any]) -> str:
    """Where a dataset is."""
    return f"{base_url()}/v1/datasets/{dataset['id']}"


def fit_url(fit: dict[str, Any]) -> str:
    """Where a fit is."""
    return f"{base_url()}/v1/fits/{fit['id']}"


def with_links(fit: dict[str, Any]) -> dict[str, Any]:
    """The fit with the URLs of its plots, artifacts and itself."""
    url = fit_url(fit)
    recorded = fit["loss_history"] is not None
    return fit | {
        "plots": {kind: f"{url}/plots/{kind}.png" for kind in plot_kinds(fit)},
        "artifacts": {
            "weights": _formats(url, "weights", ("json", "safetensors", "npz")),
            "history": _formats(url, "history", ("json", "csv")),
        }
        if recorded
        else {},
        "urls": {"self": url},
    }


def _formats(url: str, name: str, formats: tuple[str, ...]) -> dict[str, str]:
    return {form: f"{url}/{name}.{form}" for form in formats}

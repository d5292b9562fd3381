"""URLs in answers."""

from typing import Any

from flask import request

from service.api.requests import context
from service.plots import ANIMATION

_FORMATS = {
    "weights": ("json", "safetensors", "npz", "onnx"),
    "history": ("json", "csv", "parquet"),
    "trajectory": ("json", "npz"),
}


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
    return fit | {
        "plots": {kind: f"{url}/plots/{_file_name(kind)}" for kind in fit["plots"]},
        "artifacts": _artifacts(fit, url),
        "urls": {"self": url, "cancel": f"{url}/cancel"},
    }


def _file_name(kind: str) -> str:
    return f"{kind}.gif" if kind == ANIMATION else f"{kind}.png"


def _artifacts(fit: dict[str, Any], url: str) -> dict[str, Any]:
    """What the fit has kept, by format."""
    record = fit["spec"]["record"]
    kept = {"weights": fit["fingerprint"] is not None, "history": fit["loss_history"] is not None}
    kept["trajectory"] = kept["history"] and (record["weights"] or record["gradients"])
    return {
        name: {form: f"{url}/{name}.{form}" for form in _FORMATS[name]}
        for name, is_there in kept.items()
        if is_there
    }

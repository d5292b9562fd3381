"""URLs in answers."""

from typing import Any

from flask import request

from service.api.requests import opened_context
from service.lr_range_plots import range_plot_kinds
from service.plots import ANIMATION
from service.reproduction import obstacle

_FORMATS = {
    "weights": ("json", "safetensors", "npz", "onnx"),
    "history": ("json", "csv", "parquet"),
    "trajectory": ("json", "npz"),
}


def base_url() -> str:
    """`THALWEG_PUBLIC_URL`, or where the request came to."""
    return (opened_context().settings.public_url or request.host_url).rstrip("/")


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
        "urls": _urls(url) | {"page": f"{base_url()}/#{fit['id']}"},
    }


def with_range_test_links(test: dict[str, Any]) -> dict[str, Any]:
    """The range test with the URLs of its plot and itself."""
    url = f"{base_url()}/v1/lr-range-tests/{test['id']}"
    return test | {
        "plots": {kind: f"{url}/plots/{kind}.png" for kind in range_plot_kinds(test)},
        "urls": _urls(url),
    }


def with_batch_links(batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with the URLs of its fits, its results and itself."""
    url = f"{base_url()}/v1/batches/{batch['id']}"
    results = {form: f"{url}/results.{form}" for form in ("ndjson", "csv", "parquet")}
    return batch | {
        "results": results,
        "urls": _urls(url) | {"fits": f"{url}/fits"},
    }


def _urls(url: str) -> dict[str, str]:
    return {"self": url, "events": f"{url}/events", "cancel": f"{url}/cancel"}


def _file_name(kind: str) -> str:
    return f"{kind}.gif" if kind == ANIMATION else f"{kind}.png"


def _artifacts(fit: dict[str, Any], url: str) -> dict[str, Any]:
    """What the fit has kept, by format."""
    record = fit["spec"]["record"]
    kept = {"weights": fit["fingerprint"] is not None, "history": fit["loss_history"] is not None}
    kept["trajectory"] = kept["history"] and (record["weights"] or record["gradients"])
    links: dict[str, Any] = {
        name: {form: f"{url}/{name}.{form}" for form in _FORMATS[name]}
        for name, is_there in kept.items()
        if is_there
    }
    if kept["weights"] and obstacle(fit["spec"]) is None:
        links["reproduce"] = f"{url}/reproduce.py"
    return links

"""`/openapi.yaml`, `/openapi.json` and `/docs`, all from this package: no CDN."""

from pathlib import Path

import flask_swagger_ui
import yaml
from flask import Blueprint, Flask, Response, current_app, redirect, send_from_directory
from werkzeug.wrappers import Response as AnyResponse

from service.api.openapi import document
from service.api.responses import json_response

blueprint = Blueprint("documentation", __name__)

_PAGES = Path(__file__).parent / "pages"
_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"


def as_yaml(app: Flask) -> str:
    """The OpenAPI document as it stands in `openapi.yaml`."""
    return yaml.safe_dump(document(app), sort_keys=False, allow_unicode=True, width=100)


@blueprint.get("/openapi.yaml")
def openapi_yaml() -> Response:
    """The document for people and generators."""
    return Response(as_yaml(current_app), content_type="application/yaml")


@blueprint.get("/openapi.json")
def openapi_json() -> Response:
    """The same as JSON."""
    return json_response(document(current_app))


@blueprint.get("/docs")
def docs() -> Response:
    """The document as a page that can be tried out."""
    answer = send_from_directory(_PAGES, "docs.html")
    answer.headers["Content-Security-Policy"] = _POLICY
    return answer


@blueprint.get("/docs/<name>")
def docs_file(name: str) -> Response:
    """A script, style or picture of the page."""
    own = (_PAGES / name).is_file()
    return send_from_directory(_PAGES if own else _SWAGGER_UI, name)


@blueprint.get("/")
def front() -> AnyResponse:
    """The documentation, until there is a page of fits."""
    return redirect("docs")

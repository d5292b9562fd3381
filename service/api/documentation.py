"""The pages `/` and `/docs`, `/openapi.yaml` and `/openapi.json`, all from here: no CDN."""

from collections.abc import Callable
from pathlib import Path

import flask_swagger_ui
import orjson
import yaml
from flask import Blueprint, Flask, Response, current_app, send_from_directory

from service.api.openapi import document

blueprint = Blueprint("documentation", __name__)

_DOCUMENTS = "thalweg_documents"
_PAGES = Path(__file__).parent / "pages"
_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
# No form leads away, no address is another page's, and no other page shows this one in a frame.
_ALONE = "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
# A script of the page that made markup of a text would be stopped: none does.
_FRONT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; require-trusted-types-for 'script'; trusted-types 'none'; " + _ALONE
)
# Swagger UI makes markup of the document's texts, styles, and pictures of what is tried out.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self'; img-src 'self' data: blob:; " + _ALONE
)


def as_yaml(app: Flask) -> str:
    """The OpenAPI document as it stands in `openapi.yaml`."""
    return yaml.safe_dump(document(app), sort_keys=False, allow_unicode=True, width=100)


@blueprint.get("/openapi.yaml")
def openapi_yaml() -> Response:
    """The document for people and generators."""
    return Response(_made_once("yaml", _yaml_bytes), content_type="application/yaml")


@blueprint.get("/openapi.json")
def openapi_json() -> Response:
    """The same as JSON."""
    return Response(_made_once("json", _json_bytes), content_type="application/json")


def _yaml_bytes(app: Flask) -> bytes:
    return as_yaml(app).encode()


def _json_bytes(app: Flask) -> bytes:
    return orjson.dumps(document(app))


def _made_once(form: str, make: Callable[[Flask], bytes]) -> bytes:
    """The document in this form: writing it takes a tenth of a second, and it never changes."""
    made: dict[str, bytes] = current_app.extensions.setdefault(_DOCUMENTS, {})
    if form not in made:
        made[form] = make(current_app)
    return made[form]


@blueprint.get("/docs")
def docs() -> Response:
    """The document as a page that can be tried out."""
    answer = send_from_directory(_PAGES, "docs.html")
    answer.headers["Content-Security-Policy"] = _DOCS_POLICY
    return answer


@blueprint.get("/docs/<name>")
def docs_file(name: str) -> Response:
    """A script, style or picture of the page."""
    own = (_PAGES / name).is_file()
    return send_from_directory(_PAGES if own else _SWAGGER_UI, name)


@blueprint.get("/")
def front() -> Response:
    """The page for people: the fits, or one that the address names behind `#`, live.

    It is one of the API's clients: where keys are needed, it asks for one.
    """
    answer = send_from_directory(_PAGES, "front.html")
    answer.headers["Content-Security-Policy"] = _FRONT_POLICY
    return answer


@blueprint.get("/pages/<name>")
def front_file(name: str) -> Response:
    """A script or style of the page."""
    return send_from_directory(_PAGES, name)

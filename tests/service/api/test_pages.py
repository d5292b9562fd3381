"""The page for people, as a browser gets it."""

import re

import pytest
from flask.testing import FlaskClient
from werkzeug.wrappers import Response

# Another host, and whatever Trusted Types would stop.
SINKS = (
    r"https?://|innerHTML|outerHTML|insertAdjacentHTML|srcdoc|document\.write|DOMParser"
    r"|createContextualFragment|\beval\(|new Function|set(?:Timeout|Interval)\(\W*['\"`]|Worker\("
)
FILES = ("front.css", "front.js", "api.js", "curve.js", "elements.js", "fit.js", "list.js")


def content(http: FlaskClient, path: str) -> str:
    with http.get(path) as answer:
        assert answer.status_code == 200, path
        return answer.get_data(as_text=True)


def policy_of(answer: Response) -> dict[str, str]:
    """What its Content-Security-Policy says, by directive."""
    directives = answer.headers["Content-Security-Policy"].split("; ")
    return dict(directive.partition(" ")[::2] for directive in directives)


def test_a_browser_may_run_what_the_service_serves_alone(http: FlaskClient) -> None:
    with http.get("/") as page:
        policy = policy_of(page)
        text = page.get_data(as_text=True)

    assert page.mimetype == "text/html"
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert "unsafe" not in str(policy)
    # and no text becomes markup, whatever a script of the page does
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "'none'"
    # then nothing in it is a script, a style or a handler of its own
    assert re.findall(r"<script(?![^>]*src=)|<style| style=| on\w+=", text) == []


def test_the_documentation_runs_what_the_service_serves_alone(http: FlaskClient) -> None:
    with http.get("/docs") as page:
        policy = policy_of(page)
        text = page.get_data(as_text=True)

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert re.findall(r"<script(?![^>]*src=)|<style| style=| on\w+=", text) == []


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_no_page_is_shown_in_another_nor_sends_its_forms_away(http: FlaskClient, path: str) -> None:
    with http.get(path) as page:
        policy = policy_of(page)

    for directive in ("frame-ancestors", "base-uri", "form-action"):
        assert policy[directive] == "'none'"


def test_all_that_it_names_is_there(http: FlaskClient) -> None:
    named = re.findall(r'(?:src|href)="([^"#]+)"', content(http, "/"))
    imported = [
        f"pages/{name}"
        for file in FILES
        for name in re.findall(r'from "\./([^"]+)"', content(http, f"/pages/{file}"))
    ]

    assert {"pages/front.js", "pages/front.css", "docs"} <= set(named)
    assert {"pages/fit.js", "pages/list.js"} <= set(imported)
    for path in {*named, *imported}:
        with http.get(f"/{path}") as answer:
            assert answer.status_code == 200, path


def test_it_asks_no_other_host_and_makes_no_markup_of_what_users_write(http: FlaskClient) -> None:
    for path in ("/", *(f"/pages/{file}" for file in FILES)):
        text = content(http, path).replace("http://www.w3.org/2000/svg", "")

        assert re.findall(SINKS, text) == []


def test_nothing_but_its_files_is_served(http: FlaskClient) -> None:
    for name in ("none.js", "..%2fapp.py", "%2e%2e/app.py"):
        with http.get(f"/pages/{name}") as answer:
            assert answer.status_code == 404
            assert answer.mimetype == "application/problem+json"

"""A page of a list as an answer."""

from urllib.parse import urlencode

from flask import Response, request

from service.api.links import base_url
from service.api.responses import resource
from service.schemas.lists import Page


def list_response(page: Page) -> Response:
    """The page, with a link to the next one (RFC 8288); 304 where the client has it as it is."""
    body = {
        "object": "list",
        "data": page.data,
        "has_more": page.next_cursor is not None,
        "next_cursor": page.next_cursor,
    }
    return resource(body, headers=_next_link(page.next_cursor))


def _next_link(cursor: str | None) -> dict[str, str]:
    if cursor is None:
        return {}
    query = urlencode(request.args.to_dict() | {"after": cursor})
    return {"Link": f'<{base_url()}{request.path}?{query}>; rel="next"'}

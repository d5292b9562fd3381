"""What a view reads of its request."""

from typing import TypeVar

from flask import Request, current_app, request
from pydantic import BaseModel

from service.api.bodies import Body
from service.api.validation import parse_json
from service.context import Context
from service.errors import InvalidInput, NotAcceptable, Place, UnsupportedMediaType

Model = TypeVar("Model", bound=BaseModel)

# Whose everything is while no key is configured.
OPEN_OWNER = "open"


def context() -> Context:
    """The parts of the service that this app works with."""
    opened: Context = current_app.extensions["thalweg"]
    return opened


def owner() -> str:
    """Who asks."""
    return OPEN_OWNER


def refuse_other_types(*accepted: str) -> None:
    """Raise UnsupportedMediaType where the body is of none of these types."""
    if request.mimetype not in accepted:
        named = ", ".join(accepted)
        got = request.mimetype or "none"
        raise UnsupportedMediaType(f"the Content-Type is {got!r}; accepted: {named}")


def json_body(model: type[Model]) -> Model:
    """The JSON body as the model."""
    refuse_other_types("application/json")
    return parse_json(model, Body(context().settings.max_json_bytes).read_all())


def preferred(*media_types: str) -> str:
    """The one that the client likes best, the first where it does not care.

    Raises NotAcceptable where it likes none.
    """
    if not request.accept_mimetypes:
        return media_types[0]
    best = request.accept_mimetypes.best_match(media_types)
    if best is None:
        raise NotAcceptable(f"the answer comes as {', '.join(media_types)}")
    return best


def query_arguments(of: Request) -> dict[str, str]:
    """The query parameters; raises InvalidInput where one stands twice."""
    for name, values in of.args.lists():
        if len(values) > 1:
            detail = f"the query parameter {name!r} stands more than once"
            raise InvalidInput(detail, places=[Place("repeated_parameter", detail)])
    return of.args.to_dict()

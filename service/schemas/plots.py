"""How a picture is wanted."""

from typing import Annotated, Literal

from pydantic import Field

from service.schemas.common import Schema

PlotFormat = Literal["png", "svg"]


class PlotOptions(Schema):
    """Size in pixels at `dpi` pixels an inch; a larger dpi means larger letters."""

    width: Annotated[int, Field(ge=100, le=4000)] = 800
    height: Annotated[int, Field(ge=100, le=4000)] = 500
    dpi: Annotated[int, Field(ge=30, le=400)] = 100
    theme: Literal["light", "dark"] = "light"

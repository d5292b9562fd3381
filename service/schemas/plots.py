"""How a picture is wanted."""

from typing import Annotated, Literal

from pydantic import Field

from service.schemas.common import Schema

PlotFormat = Literal["png", "svg"]
AnimationFormat = Literal["gif", "mp4"]


class PlotOptions(Schema):
    """Size in pixels at `dpi` pixels an inch; a larger dpi means larger letters."""

    width: Annotated[int, Field(ge=100, le=4000)] = 800
    height: Annotated[int, Field(ge=100, le=4000)] = 500
    dpi: Annotated[int, Field(ge=30, le=400)] = 100
    theme: Literal["light", "dark"] = "light"


class AnimationOptions(PlotOptions):
    """As a still picture's, but smaller, for there are up to 100 of them."""

    width: Annotated[int, Field(ge=100, le=1600)] = 800
    height: Annotated[int, Field(ge=100, le=1200)] = 500

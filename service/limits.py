"""What an owner may have at most: set for everybody, or less with a key."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from service.database import Connection
from service.database.owners import hold_everybody, hold_owners
from service.errors import InvalidInput
from service.settings import Settings, parse_rate


@dataclass(frozen=True)
class Limits:
    """A key's own limits by their settings' names; None leaves what the settings say.

    Raises InvalidInput for a rate that is none and for numbers below 1.
    """

    rate_limit: str | None = None
    max_owner_queued_fits: int | None = None
    max_owner_running_fits: int | None = None
    max_owner_stored_bytes: int | None = None
    max_rows: int | None = None
    max_parameters: int | None = None
    max_steps: int | None = None

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            if isinstance(value, int) and value < 1:
                raise InvalidInput(f"{name} must be 1 or more")
        if self.rate_limit is not None:
            try:
                parse_rate(self.rate_limit)
            except ValueError as error:
                raise InvalidInput(f"rate_limit: {error}") from error

    def given(self) -> dict[str, Any]:
        """Those that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def applied_to(self, settings: Settings) -> Settings:
        """The settings of this key's requests: of two bounds the lower one counts."""
        update = {name: _stricter(settings, name, own) for name, own in self.given().items()}
        return settings.model_copy(update=update) if update else settings


def _stricter(settings: Settings, name: str, own: Any) -> Any:
    general = getattr(settings, name)
    if not isinstance(own, int) or general is None:
        return own
    return min(own, general)


# What a transaction begins with that counts what an owner has.
Hold = Callable[[Settings, Connection, str], None]


def hold_bounded(settings: Settings, connection: Connection, owner: str) -> None:
    """Have the owner's other requests wait until the transaction ends, where they are counted."""
    if settings.max_owner_queued_fits is not None or settings.max_owner_stored_bytes is not None:
        hold_owners(connection, [owner])


def hold_queue(
    settings: Settings, connection: Connection, owner: str, *, alone: bool = True
) -> None:
    """Have all others who would queue fits wait until the transaction ends: they are counted.

    Not `alone`, only those wait who would be.
    """
    hold_everybody(connection, alone=alone)
    hold_bounded(settings, connection, owner)

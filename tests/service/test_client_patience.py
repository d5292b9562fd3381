"""How long the client asks again."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest

from service.client.errors import Unreachable
from service.client.retrying import Later, Patience, retry_after

_MANY = 100
NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


class Pauses:
    """A patience of so many seconds whose pauses are written down."""

    def __init__(self, seconds: float, chance: float = 0.0) -> None:
        self.made: list[float] = []
        self.told: list[str] = []
        self.patience = Patience(seconds, self.told.append, self.made.append, lambda: chance)

    def go_on(self, after_seconds: float | None = None) -> None:
        self.patience.pause(Later(Unreachable("nobody answers"), after_seconds))

    def until_the_end(self) -> list[float]:
        with suppress(Unreachable):
            while len(self.made) < _MANY:
                self.go_on()
        assert len(self.made) < _MANY
        return self.made


def test_pauses_double_up_to_a_bound_and_come_to_what_was_said() -> None:
    assert Pauses(30).until_the_end() == [0.5, 1, 2, 4, 8, 8, 6.5]
    assert Pauses(0).until_the_end() == []


def test_chance_shortens_a_pause_by_half_at_most() -> None:
    assert Pauses(1.75, chance=1).until_the_end() == [0.25, 0.5, 1]


def test_what_the_service_asks_for_is_never_cut_short() -> None:
    pauses = Pauses(30)

    pauses.go_on(5)

    assert pauses.made == [5]
    assert pauses.told == ["nobody answers; trying again in 5.0 s"]
    # and what is more than there is left is not waited for at all
    with pytest.raises(Unreachable):
        pauses.go_on(26)
    assert pauses.made == [5]


@pytest.mark.parametrize(
    ("left", "told"), [(0.04, "at once"), (0.06, "in 0.1 s"), (0.25, "in 0.2 s")]
)
def test_a_pause_that_is_next_to_none_is_told_as_none(left: float, told: str) -> None:
    pauses = Pauses(left)

    pauses.go_on()

    assert pauses.made == [left]
    assert pauses.told == [f"nobody answers; trying again {told}"]


def test_a_rest_spends_nothing() -> None:
    pauses = Pauses(1)
    pauses.go_on()

    for _ in range(3):
        pauses.patience.rest(2)

    assert pauses.made == [0.5, 2, 2, 2]
    assert len(pauses.told) == 1
    assert pauses.until_the_end()[4:] == [0.5, 0.5]


def test_after_a_good_while_all_begins_anew() -> None:
    pauses = Pauses(2)
    pauses.go_on()
    pauses.patience.renew()

    assert pauses.until_the_end() == [0.5, 0.5, 1, 0.5]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 0 ", 0),
        ("Thu, 26 Nov 2026 12:00:09 GMT", 9),
        ("Thu, 26 Nov 2026 11:00:00 GMT", 0),
        ("Thu, 26 Nov 2026 12:00:09 -0000", 9),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds
    assert retry_after(header, NOW.astimezone(timezone(timedelta(hours=2)))) == seconds

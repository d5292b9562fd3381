"""Who may ask for what, and how often."""

from functools import partial

from flask import Flask, Response, current_app, g, request

from service.api.openapi import Operation, operation_of
from service.api.requests import admit
from service.errors import Forbidden, Quota, RateLimited
from service.keys import KeyRing
from service.rates import Budget, Rates

_SCHEME = "bearer"
_READING = ("GET", "HEAD", "OPTIONS")


def install(app: Flask) -> None:
    """Guard every operation of the app that is not public."""
    opened = app.extensions["thalweg"]
    ring, rates = KeyRing(opened.database), Rates(opened.events.client)

    def guard() -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        described = operation_of(view) if view else None
        if described is not None and not described.public:
            _admit(described, ring, rates)

    app.before_request(guard)
    app.after_request(_tell)


def _admit(described: Operation, ring: KeyRing, rates: Rates) -> None:
    """Note who asks; raises Unauthorized, Forbidden and RateLimited."""
    key = _key()
    principal = ring.principal(key)
    scope = described.scope or ("read" if request.method in _READING else "write")
    if scope not in principal.scopes:
        held = ", ".join(sorted(principal.scopes))
        raise Forbidden(f"this needs a key of scope {scope!r}; this one has {held}")
    rate_limit = admit(principal, partial(ring.holds, key)).settings.rate_limit
    if rate_limit is not None:
        g.budget = rates.spend(principal.owner, rate_limit)
        if not g.budget.allowed:
            raise RateLimited(
                f"more than {rate_limit} requests",
                retry_after_seconds=g.budget.reset_seconds,
            )


def _key() -> str | None:
    """What `Authorization: Bearer` holds, if anything."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == _SCHEME else None


def _tell(answer: Response) -> Response:
    """The rate that applies, the quota that is exhausted, and what is left of each.

    As draft-ietf-httpapi-ratelimit-headers has it.
    """
    policies, left = [], []
    budget: Budget | None = g.get("budget")
    if budget is not None:
        policies.append(f'"requests";q={budget.quota};w={budget.window_seconds}')
        left.append(f'"requests";r={budget.remaining};t={budget.reset_seconds}')
    quota: Quota | None = g.get("exhausted")
    if quota is not None:
        unit = f';qu="{quota.unit}"' if quota.unit else ""
        # It knows neither a window nor a time of its end: something must be done first.
        policies.append(f'"{quota.name}";q={quota.amount}{unit}')
        left.append(f'"{quota.name}";r={quota.remaining}')
    if policies:
        answer.headers["RateLimit-Policy"] = ", ".join(policies)
        answer.headers["RateLimit"] = ", ".join(left)
    return answer

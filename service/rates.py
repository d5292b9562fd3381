"""How often an owner may ask: counted in redis for all processes, in this one where it is away."""

import math
import time
from dataclasses import dataclass

import redis
import structlog
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.settings import parse_rate

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Budget:
    """What a window of so many seconds holds, and what of it is left for how long."""

    quota: int
    window_seconds: int
    remaining: int
    reset_seconds: int
    allowed: bool


class _OwnersRate(RateLimitItemPerSecond):
    """A rate whose count is the owner's: another key's own amount does not begin another one."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        named = (self.namespace, *identifiers, self.get_expiry())
        return "/".join(map(str, named))


class Rates:
    """Counts by owner and window, whatever key is used; safe to share between threads."""

    def __init__(self, client: redis.Redis) -> None:
        shared = RedisStorage("redis://", connection_pool=client.connection_pool)
        self._shared = SlidingWindowCounterRateLimiter(shared)
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())

    def spend(self, owner: str, rate: str) -> Budget:
        """Count one request of the owner's against a rate like "50/second"."""
        parsed = parse_rate(rate)
        item = _OwnersRate(parsed.amount, parsed.get_expiry())
        try:
            return _spend(self._shared, item, owner)
        except redis.RedisError as error:
            log.warning("rates_counted_here", error=str(error))
            return _spend(self._own, item, owner)


def _spend(limiter: SlidingWindowCounterRateLimiter, item: _OwnersRate, owner: str) -> Budget:
    allowed = limiter.hit(item, owner)
    window = limiter.get_window_stats(item, owner)
    return Budget(
        quota=item.amount,
        window_seconds=item.get_expiry(),
        remaining=window.remaining,
        reset_seconds=max(1, math.ceil(window.reset_time - time.time())),
        allowed=allowed,
    )

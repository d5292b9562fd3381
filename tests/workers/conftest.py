"""The service's parts, for the workers' tests."""

from tests.service.conftest import context, redis_url, settings, table

__all__ = ["context", "redis_url", "settings", "table"]

"""What a load is mixed of."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from tests.benchmarks.load.client import Client

# What one client does before it does something else, and how often it does that.
Mixture: TypeAlias = Mapping[Callable[[Client], None], int]

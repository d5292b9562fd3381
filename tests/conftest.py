"""What all tests share: no property is timed, for machines are noisy; some need a device."""

import os
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

# As the workers do: of two processes that compute with two threads each on two cores, neither is to
# hold a core while it waits. libgomp reads this when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

settings.register_profile("untimed", parent=settings(), deadline=None)
settings.load_profile("untimed")

_EXPECT_GPU = "THALWEG_EXPECT_GPU"

# What shares one service that takes long to start stays with one process.
_ONE_SERVICE = ("tests/faults/", "tests/stack/")


class _ByService(LoadFileScheduling):  # type: ignore[misc]  # Of Any.
    """A file's tests stay together, and so do those of all files that share a service."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return next((place for place in _ONE_SERVICE if file.startswith(place)), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Deal the tests out."""
    return _ByService(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a CUDA device skip what needs one, unless THALWEG_EXPECT_GPU=1 says there is one."""
    needy = [item for item in items if "gpu" in item.keywords]
    if not needy or os.environ.get(_EXPECT_GPU) == "1":
        return
    # Not at the top: most tests have no need of it, and it takes seconds.
    import torch  # noqa: PLC0415

    if not torch.cuda.is_available():
        reason = f"torch sees no CUDA device ({_EXPECT_GPU}=1 makes that a failure)"
        for item in needy:
            item.add_marker(pytest.mark.skip(reason=reason))

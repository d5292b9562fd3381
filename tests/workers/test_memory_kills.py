"""The kernel's count of kills for want of memory, in either version of control groups."""

from pathlib import Path

import pytest

from workers.memory_kills import count_memory_kills

V1 = "3:cpu:/\n2:memory:/jobs/7\n0::/\n"
V2 = "0::/jobs/7\n"


@pytest.mark.parametrize(
    ("membership", "place"),
    [
        (V1, "memory/jobs/7/memory.oom_control"),
        # A container sees its own group at the root.
        (V1, "memory/memory.oom_control"),
        (V2, "jobs/7/memory.events"),
        (V2, "memory.events"),
    ],
)
def test_the_kills_of_its_own_group_are_counted(
    tmp_path: Path, membership: str, place: str
) -> None:
    (tmp_path / "membership").write_text(membership)
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("oom 5\noom_kill 3\noom_group_kill 0\n")

    assert count_memory_kills(tmp_path, tmp_path / "membership") == 3


def test_where_the_kernel_does_not_say_there_are_none(tmp_path: Path) -> None:
    assert count_memory_kills(tmp_path, tmp_path / "none") == 0
    (tmp_path / "membership").write_text(V2)
    assert count_memory_kills(tmp_path, tmp_path / "membership") == 0

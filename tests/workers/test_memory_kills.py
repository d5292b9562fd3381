"""The kernel's count of kills for want of memory: a control group's, or the machine's."""

from pathlib import Path

import pytest

from workers.memory_kills import RecentKills, count_memory_kills

V1 = "3:cpu:/\n2:memory:/jobs/7\n0::/\n"
V2 = "0::/jobs/7\n"


def counted(directory: Path) -> int:
    return count_memory_kills(directory, directory / "membership", directory / "vmstat")


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
    (tmp_path / "vmstat").write_text("oom_kill 7\n")

    assert counted(tmp_path) == 3


@pytest.mark.parametrize("membership", [V2, None])
def test_where_no_group_counts_them_those_of_the_machine_are(
    tmp_path: Path, membership: str | None
) -> None:
    if membership is not None:
        (tmp_path / "membership").write_text(membership)
    (tmp_path / "vmstat").write_text("nr_free_pages 9\noom_kill 7\npgfault 3\n")

    assert counted(tmp_path) == 7


def test_where_the_kernel_does_not_say_there_are_none(tmp_path: Path) -> None:
    assert counted(tmp_path) == 0
    (tmp_path / "membership").write_text(V2)
    assert counted(tmp_path) == 0


class Kernel:
    """One whose kills and time the test makes."""

    def __init__(self) -> None:
        self.n_kills = 4
        self.seconds = 100.0

    def recent(self) -> RecentKills:
        return RecentKills(count=lambda: self.n_kills, clock=lambda: self.seconds)


def test_a_kill_counts_for_some_seconds() -> None:
    kernel = Kernel()
    recent = kernel.recent()

    # Those before it began are another's.
    assert not recent.any()

    # A kill is seen before it is noted, and for some rounds after that.
    seen = []
    kernel.n_kills += 1
    for _ in range(9):
        seen.append(recent.any())
        recent.note()
        kernel.seconds += 1
    assert seen[:5] == [True] * 5
    assert not any(seen[6:])

    kernel.n_kills += 1
    assert recent.any()


def test_what_is_not_noted_is_not_forgotten() -> None:
    kernel = Kernel()
    recent = kernel.recent()
    kernel.n_kills += 1

    kernel.seconds += 60

    assert recent.any()

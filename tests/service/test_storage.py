"""The local object store: whole objects or none."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.errors import Unavailable
from service.storage import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


def files(root: Path) -> list[str]:
    return [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()]


def test_what_is_put_can_be_got_until_it_is_deleted(store: LocalStore) -> None:
    store.put("a/b", b"first")
    store.put("a/b", b"second")

    assert store.get("a/b") == b"second"
    store.delete("a/b")
    store.delete("a/b")
    with pytest.raises(KeyError):
        store.get("a/b")


def test_all_below_a_prefix_is_deleted_and_nothing_beside_it(store: LocalStore) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        store.put(key, b"")

    store.delete_below("a")
    store.delete_below("a")

    assert store.get("ab/3") == b""
    for key in ("a/1", "a/b/2"):
        with pytest.raises(KeyError):
            store.get(key)


def test_a_failed_write_leaves_the_old_object_and_no_part_of_the_new(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("key", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        store.put("key", b"new")

    assert store.get("key") == b"old"
    assert files(tmp_path) == ["objects/key"]


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "a/../../outside"])
def test_no_key_leads_out_of_the_store(store: LocalStore, key: str) -> None:
    with pytest.raises(ValueError, match="leads out"):
        store.put(key, b"")


def test_a_store_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable):
        LocalStore(tmp_path / "file" / "objects").check()
    LocalStore(tmp_path / "objects").check()


def test_what_a_killed_process_left_in_scratch_is_removed_soon(
    store: LocalStore, tmp_path: Path
) -> None:
    # given a process that was killed at its work, and one that is still at it
    program = (
        "import os, pathlib, signal; from service.storage import LocalStore\n"
        f"with LocalStore(pathlib.Path({str(tmp_path / 'objects')!r})).scratch() as scratch:\n"
        "    (scratch / 'half').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(files(tmp_path)) == 1

    with store.scratch() as scratch:
        (scratch / "mine").write_bytes(b"mine")

        # when they are no longer new
        store.forget_scratch(time.time())
        assert len(files(tmp_path)) == 2
        store.forget_scratch(time.time() + 11)

        # then what the dead one left is gone
        assert files(tmp_path) == [f"objects/.scratch/{scratch.name}/mine"]
    assert files(tmp_path) == []


def test_keys_are_found_by_prefix_and_age(store: LocalStore) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        store.put(key, b"")

    assert sorted(store.keys_below("a", time.time() + 1)) == ["a/1", "a/b/2"]
    assert list(store.keys_below("a", time.time() - 60)) == []
    assert list(store.keys_below("none", time.time() + 1)) == []

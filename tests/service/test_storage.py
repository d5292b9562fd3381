"""Object stores of each kind: whole objects or none."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import Unavailable
from service.settings import Settings
from service.storage import MissingObject, ObjectStore, open_store, s3
from service.storage.local import LocalStore
from tests.proxy import Way, proxy_to
from tests.seaweedfs import BUCKET, READER, SeaweedFS, endpoint

LATER = 60.0


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return open_store(settings)


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


@pytest.fixture
def bucket(
    seaweedfs: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """The variables with which a bucket is reached, to be changed."""
    for name, value in seaweedfs.environment.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def files(root: Path) -> list[str]:
    return [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()]


def opened(tmp_path: Path, url: str) -> ObjectStore:
    return open_store(Settings(data_dir=tmp_path, storage_url=url))


@pytest.mark.parametrize("content", [b"", b"second", bytes(range(256)) * 100_000])
def test_what_is_put_can_be_got_until_it_is_deleted(store: ObjectStore, content: bytes) -> None:
    store.put("a/b", b"first")
    store.put("a/b", content)

    assert store.get("a/b") == content
    with store.local("a/b") as path:
        assert path.read_bytes() == content
    store.delete("a/b")
    store.delete("a/b")
    with pytest.raises(MissingObject):
        store.get("a/b")
    with pytest.raises(MissingObject), store.local("a/b"):
        pass


def test_a_file_becomes_an_object_and_nothing_stays_beside_it(
    store: ObjectStore, settings: Settings
) -> None:
    content = os.urandom(20_000_000)
    with store.scratch() as directory:
        path = directory / "table"
        path.write_bytes(content)

        store.put_file("datasets/table", path)

    assert store.get("datasets/table") == content
    with store.local("datasets/table"):
        pass
    assert [name for name in files(settings.data_dir) if "scratch" in name] == []


def test_all_below_a_prefix_is_deleted_and_nothing_beside_it(store: ObjectStore) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        store.put(key, b"")

    store.delete_below("a")
    store.delete_below("a")

    assert store.get("ab/3") == b""
    for key in ("a/1", "a/b/2"):
        with pytest.raises(MissingObject):
            store.get(key)


def test_names_are_those_of_one_level(store: ObjectStore) -> None:
    for key in ("a/1", "a/b/2", "a/b/3", "ab/4"):
        store.put(key, b"")

    assert sorted(store.names_below("a")) == ["1", "b"]
    assert store.names_below("none") == []


def test_keys_are_found_by_prefix_and_age(store: ObjectStore) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        store.put(key, b"")

    assert sorted(store.keys_below("a", time.time() + LATER)) == ["a/1", "a/b/2"]
    assert list(store.keys_below("a", time.time() - LATER)) == []
    assert list(store.keys_below("none", time.time() + LATER)) == []


def test_more_keys_than_one_list_has_are_found_and_deleted(store: ObjectStore) -> None:
    for i in range(1_100):
        store.put(f"a/{i}", b"")

    assert len({*store.keys_below("a", time.time() + LATER)}) == 1_100
    store.delete_below("a")
    assert [*store.keys_below("a", time.time() + LATER)] == []


def test_what_is_old_is_forgotten_and_nothing_new(store: ObjectStore) -> None:
    store.put("errands/one/table", b"")

    later = time.time() + LATER
    store.forget_below("errands", time.time() - LATER)
    assert [*store.keys_below("errands", later)] == ["errands/one/table"]
    store.forget_below("errands", later)
    assert [*store.keys_below("errands", later)] == []


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "a/../../outside", "a//b", ""])
def test_no_key_leads_out_of_the_store(store: ObjectStore, key: str) -> None:
    for use in (store.get, store.delete, store.delete_below, store.names_below):
        with pytest.raises(ValueError, match="leads out"):
            use(key)
    with pytest.raises(ValueError, match="leads out"):
        store.put(key, b"")


def test_a_store_that_is_there_is_well(store: ObjectStore) -> None:
    store.check()


def test_a_failed_write_leaves_the_old_object_and_no_part_of_the_new(
    local: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.put("key", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        local.put("key", b"new")

    assert local.get("key") == b"old"
    assert files(tmp_path) == ["objects/key"]


def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable):
        LocalStore(tmp_path / "file" / "objects").check()


def test_what_a_killed_process_left_in_scratch_is_removed_soon(
    local: LocalStore, tmp_path: Path
) -> None:
    # given a process that was killed at its work, and one that is still at it
    program = (
        "import os, pathlib, signal; from service.storage.local import LocalStore\n"
        f"with LocalStore(pathlib.Path({str(tmp_path / 'objects')!r})).scratch() as scratch:\n"
        "    (scratch / 'half').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(files(tmp_path)) == 1

    with local.scratch() as scratch:
        (scratch / "mine").write_bytes(b"mine")

        # when they are no longer new
        local.forget_scratch(time.time())
        assert len(files(tmp_path)) == 2
        local.forget_scratch(time.time() + 11)

        # then what the dead one left is gone
        assert files(tmp_path) == [f"objects/.scratch/{scratch.name}/mine"]
    assert files(tmp_path) == []


def test_a_bucket_with_another_secret_is_unavailable(
    bucket: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket.setenv("AWS_SECRET_ACCESS_KEY", "another")
    store = opened(tmp_path, f"s3://{BUCKET}/x")

    for use in (store.check, lambda: store.put("a", b""), lambda: store.get("a")):
        with pytest.raises(Unavailable) as refused:
            use()
        # Addresses are the operator's alone.
        assert refused.value.detail == "the object store does not answer"


def test_a_bucket_that_is_not_there_is_no_missing_object(
    bucket: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = opened(tmp_path, "s3://another-bucket/x")

    for use in (store.check, lambda: store.get("a"), lambda: store.names_below("a")):
        with pytest.raises(Unavailable):
            use()


@pytest.mark.parametrize("way", [Way.CLOSED, Way.SILENT, Way.FAILING])
def test_a_bucket_that_fails_for_a_while_is_unavailable_for_a_while(
    bucket: pytest.MonkeyPatch, seaweedfs: SeaweedFS, tmp_path: Path, way: Way
) -> None:
    with proxy_to(seaweedfs.address) as proxy:
        bucket.setenv("AWS_ENDPOINT_URL", endpoint(proxy.address))
        bucket.setattr(s3, "_SILENT_SECONDS", 0.5)
        bucket.setattr(s3, "_CHECK_SECONDS", 1)
        store = opened(tmp_path, seaweedfs.new_url())
        store.put("a", b"kept")

        proxy.way = way
        uses: list[Callable[[], object]] = [
            store.check, lambda: store.put("a", b"new"), lambda: store.get("a"),
            lambda: store.delete("a"), lambda: store.delete_below("a"),
            lambda: [*store.keys_below("a", 0.0)],
        ]  # fmt: skip
        for use in uses:
            with pytest.raises(Unavailable):
                use()
        proxy.way = Way.THROUGH

        assert store.get("a") == b"kept"


def test_a_bucket_that_takes_nothing_is_unavailable(
    bucket: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # given a key that may read alone
    bucket.setenv("AWS_ACCESS_KEY_ID", READER)
    store = opened(tmp_path, f"s3://{BUCKET}/x")

    assert store.names_below("a") == []
    with pytest.raises(Unavailable):
        store.check()


def test_a_large_object_comes_through_a_slow_line(
    bucket: pytest.MonkeyPatch, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    # given a line on which an object takes longer than a bucket may be silent
    with proxy_to(seaweedfs.address) as proxy:
        bucket.setenv("AWS_ENDPOINT_URL", endpoint(proxy.address))
        bucket.setattr(s3, "_SILENT_SECONDS", 1)
        store = opened(tmp_path, seaweedfs.new_url())
        content = os.urandom(4_000_000)

        proxy.way = Way.SLOW
        store.put("large", content)

        assert store.get("large") == content


def test_an_answer_that_ends_in_its_midst_is_no_object(
    bucket: pytest.MonkeyPatch, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    with proxy_to(seaweedfs.address) as proxy:
        bucket.setenv("AWS_ENDPOINT_URL", endpoint(proxy.address))
        store = opened(tmp_path, seaweedfs.new_url())
        store.put("large", bytes(8_000_000))

        proxy.way = Way.CUT
        with pytest.raises(Unavailable):
            store.get("large")
        with pytest.raises(Unavailable), store.local("large"):
            pass

    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///prefix", "s3://Bucket", "s3://b?x=1", "file://host/x", "ftp://b", ""]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="storage_url"):
        Settings(storage_url=url)

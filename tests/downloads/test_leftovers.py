"""What killed processes leave behind, and that the next one removes it, but never what is in use."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from update_all.downloads.archives import extract
from update_all.downloads.cache import Cache
from update_all.downloads.fetch import fetch
from update_all.downloads.spec import DownloadSpec
from update_all.downloads.versions import HighestSeen

sys.path.insert(0, str(Path(__file__).parent))
from hostile import GOOD, entry, tar
from publisher import Publisher, publisher

DATA = bytes(range(256)) * 400
MONTHS = 60 * 86400
LARGE = gzip.compress(tar(*(entry(f"f{number}", bytes(9000)) for number in range(4000))))
UNPACK = """
import asyncio, sys
from pathlib import Path
from update_all.downloads.archives import extract
asyncio.run(extract(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.fixture
def server() -> Iterator[Publisher]:
    with publisher() as running:
        running.add("/tool.tar.gz", DATA)
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def spec_for(server: Publisher) -> DownloadSpec:
    digest = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    return DownloadSpec(server.url("/tool.tar.gz"), "tool.tar.gz", digest, len(DATA))


def download(spec: DownloadSpec, cache: Cache) -> None:
    async def drain() -> None:
        async for _ in fetch(spec, cache):
            pass

    asyncio.run(drain())


def old(path: Path) -> Path:
    """A file that nobody has touched for two months."""
    path.write_bytes(b"left")
    moment = path.stat().st_mtime - MONTHS
    os.utime(path, (moment, moment))
    return path


def test_a_download_leaves_the_file_and_nothing_else(server: Publisher, cache: Cache) -> None:
    for _ in range(2):
        download(spec_for(server), cache)
        assert [path.name.rpartition("-")[2] for path in cache.root.iterdir()] == ["tool.tar.gz"]


def test_the_next_download_removes_what_others_left(server: Publisher, cache: Cache) -> None:
    key = "0" * 32
    left = [old(cache.root / f"{key}.{kind}") for kind in ("part", "validator", "signature", "digest")]
    left += [old(cache.root / f"sha256-{'1' * 64}-tool-1.0.tar.gz"), cache.root / f"{key}.lock"]
    left[-1].touch()
    recent = cache.root / f"{'2' * 32}.part"
    recent.write_bytes(b"unfinished")
    download(spec_for(server), cache)
    assert [path for path in left if path.exists()] == []
    assert recent.exists()


def test_an_old_download_that_is_under_way_is_left_alone(server: Publisher, cache: Cache) -> None:
    """As after a machine has slept for months in the middle of it."""
    key = "0" * 32
    part, lock = old(cache.root / f"{key}.part"), cache.root / f"{key}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        download(spec_for(server), cache)
        assert part.exists()
        assert lock.exists()
    assert cache.prune() == 1
    assert not part.exists()
    assert not lock.exists()


def test_what_is_used_is_not_old(server: Publisher, cache: Cache) -> None:
    spec = spec_for(server)
    download(spec, cache)
    path = asyncio.run(cache.verified(spec))
    old(path).write_bytes(DATA)
    os.utime(path, (0, 0))
    assert asyncio.run(cache.verified(spec)) == path
    assert cache.prune() == 0
    os.utime(path, (0, 0))
    assert cache.prune() == 1


def test_many_at_once_fetch_once_and_leave_no_lock(server: Publisher, cache: Cache) -> None:
    """Whoever deletes the lock must not let two in: the second asks the server nothing."""

    async def drain() -> None:
        async for _ in fetch(spec_for(server), cache):
            pass

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(drain())

    asyncio.run(together())
    assert len(server.requests) == 1
    assert list(cache.root.glob("*.lock")) == []


def unpacking(archive: Path, target: Path) -> subprocess.Popen[bytes]:
    """Another process that unpacks, once the first files are there."""
    process = subprocess.Popen([sys.executable, "-c", UNPACK, str(archive), str(target)])
    while not list(target.parent.glob(".extract-*/tree/f1")):
        assert process.poll() is None, "it was too fast"
    return process


def test_the_next_extraction_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    archive, good, room = tmp_path / "large", tmp_path / "good", tmp_path / "room"
    archive.write_bytes(LARGE)
    good.write_bytes(GOOD)
    room.mkdir()
    process = unpacking(archive, room / "large")
    process.kill()
    process.wait()
    assert list(room.glob(".extract-*")) != []
    asyncio.run(extract(good, room / "first"))
    asyncio.run(extract(good, room / "second"))
    assert sorted(path.name for path in room.iterdir()) == ["first", "second"]


def test_an_extraction_that_is_under_way_is_left_alone(tmp_path: Path) -> None:
    archive, good, room = tmp_path / "large", tmp_path / "good", tmp_path / "room"
    archive.write_bytes(LARGE)
    good.write_bytes(GOOD)
    room.mkdir()
    process = unpacking(archive, room / "large")
    asyncio.run(extract(good, room / "small"))
    assert process.wait(60) == 0
    assert len(list((room / "large").iterdir())) == 4000
    assert sorted(path.name for path in room.iterdir()) == ["large", "small"]


def test_the_memory_of_versions_is_the_owners_and_leaves_nothing(tmp_path: Path) -> None:
    seen = HighestSeen(tmp_path / "state" / "seen.json")
    seen.record("go", "1.0")
    (tmp_path / "state" / ".seen.json-new").write_text("cut off")
    seen.record("go", "1.1")
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["seen.json"]
    assert stat.S_IMODE(seen.path.stat().st_mode) == 0o600
    assert seen.highest("go") == "1.1"

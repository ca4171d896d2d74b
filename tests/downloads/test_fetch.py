"""Downloads against a real loopback server: resume, verify, refuse."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from update_all.core.errors import DownloadError, DownloadRefusedError, IntegrityError
from update_all.core.streaming import ProgressEvent, StreamEvent, WarningEvent
from update_all.downloads.cache import Cache
from update_all.downloads.fetch import fetch
from update_all.downloads.pace import Clock
from update_all.downloads.spec import DownloadSettings, DownloadSpec

sys.path.insert(0, str(Path(__file__).parent))
from publisher import Publisher, publisher

DATA = hashlib.shake_128(b"tool").digest(700_000)


@dataclass
class FakeTime:
    """A clock that only moves by waiting (or by what a test adds)."""

    time: float = 0.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    def clock(self) -> Clock:
        return Clock(now=lambda: self.time, sleep=self.sleep, random=lambda: 0.5)


@pytest.fixture
def server() -> Iterator[Publisher]:
    with publisher() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def spec_for(server: Publisher, data: bytes = DATA, path: str = "/tool.tar.gz") -> DownloadSpec:
    return DownloadSpec(server.url(path), "tool.tar.gz", digest(data), len(data))


def download(
    spec: DownloadSpec, cache: Cache, settings: DownloadSettings | None = None, clock: Clock | None = None
) -> list[StreamEvent]:
    async def collect() -> list[StreamEvent]:
        clock_ = clock or FakeTime().clock()
        return [event async for event in fetch(spec, cache, settings=settings, clock=clock_)]

    return asyncio.run(collect())


def stored(spec: DownloadSpec, cache: Cache) -> bytes:
    return asyncio.run(cache.verified(spec)).read_bytes()


def leftovers(cache: Cache, suffix: str) -> list[Path]:
    return [path for path in cache.root.iterdir() if path.name.endswith(suffix)]


def test_fetch_verifies_and_keeps(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA)
    spec = spec_for(server)
    events = download(spec, cache)
    assert stored(spec, cache) == DATA
    last = events[-1]
    assert isinstance(last, ProgressEvent)
    assert (last.bytes_downloaded, last.bytes_total, last.percent) == (len(DATA), len(DATA), 100.0)
    assert not leftovers(cache, ".part")
    assert cache.root.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in cache.root.iterdir() if path.suffix == ".gz")


def test_second_fetch_asks_nobody_and_hashes_again(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA)
    spec = spec_for(server)
    download(spec, cache)
    download(spec, cache)
    assert len(server.requests) == 1
    path = asyncio.run(cache.verified(spec))
    path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="changed in the cache"):
        asyncio.run(cache.verified(spec))
    assert not path.exists()
    download(spec, cache)
    assert len(server.requests) == 2
    assert stored(spec, cache) == DATA


def test_fetch_upper_case_sha512(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA)
    value = hashlib.sha512(DATA).hexdigest().upper()
    spec = DownloadSpec(server.url("/tool.tar.gz"), "tool.tar.gz", f"SHA512:{value}")
    download(spec, cache)
    assert stored(spec, cache) == DATA


@pytest.mark.parametrize("cuts", [[1], [300_000], [16_384, 5, 200_000], [699_999]])
def test_broken_connection_is_continued(server: Publisher, cache: Cache, cuts: list[int]) -> None:
    server.add("/tool.tar.gz", DATA).breaks = list(cuts)
    spec = spec_for(server)
    time = FakeTime()
    download(spec, cache, clock=time.clock())
    assert stored(spec, cache) == DATA
    assert server.sent == len(DATA)
    assert len(time.waits) == len(cuts)
    assert [request.headers.get("range") for request in server.requests][1:] == [
        f"bytes={sum(cuts[: n + 1])}-" for n in range(len(cuts))
    ]
    assert server.requests[-1].headers["if-range"] == '"v1"'


def test_many_cuts_with_progress_never_give_up(server: Publisher, cache: Cache) -> None:
    data = hashlib.shake_128(b"large tool").digest(9 * 1024 * 1024)
    server.add("/tool.tar.gz", data).breaks = [1024 * 1024 + 5] * 7
    spec = spec_for(server, data)
    download(spec, cache)
    assert stored(spec, cache) == data
    assert server.sent == len(data)


def test_continued_by_another_call(server: Publisher, cache: Cache) -> None:
    resource = server.add("/tool.tar.gz", DATA)
    resource.breaks = [100_000, 1, 1, 1]
    spec = spec_for(server)
    with pytest.raises(DownloadError, match=r"broke off.*4 tries"):
        download(spec, cache)
    assert leftovers(cache, ".part")[0].stat().st_mode & 0o777 == 0o600
    download(spec, cache)
    assert stored(spec, cache) == DATA
    assert server.sent == len(DATA)


def test_abandoned_download_keeps_what_came(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA)
    spec = spec_for(server)

    async def abandon() -> None:
        events = fetch(spec, cache)
        await anext(events)
        await events.aclose()

    asyncio.run(abandon())
    kept = leftovers(cache, ".part")[0].stat().st_size
    assert kept > 0
    download(spec, cache)
    assert server.requests[-1].headers["range"] == f"bytes={kept}-"
    assert stored(spec, cache) == DATA


def test_other_version_behind_the_address_starts_anew(server: Publisher, cache: Cache) -> None:
    resource = server.add("/tool.tar.gz", b"old" * 100_000)
    resource.breaks = [50_000, 1, 1, 1]
    spec = spec_for(server)
    spec = replace(spec, size=None)
    with pytest.raises(DownloadError):
        download(spec, cache)
    server.add("/tool.tar.gz", DATA).etag = '"v2"'
    download(spec, cache)
    assert stored(spec, cache) == DATA
    assert server.requests[-1].headers["if-range"] == '"v1"'


def test_server_without_ranges_starts_anew(server: Publisher, cache: Cache) -> None:
    resource = server.add("/tool.tar.gz", DATA)
    resource.ranges, resource.breaks = False, [400_000]
    spec = spec_for(server)
    download(spec, cache)
    assert stored(spec, cache) == DATA


def test_spoilt_part_is_fetched_whole_once(server: Publisher, cache: Cache) -> None:
    resource = server.add("/tool.tar.gz", DATA)
    resource.breaks = [100_000, 1, 1, 1]
    spec = spec_for(server)
    with pytest.raises(DownloadError):
        download(spec, cache)
    part = leftovers(cache, ".part")[0]
    part.write_bytes(b"x" + part.read_bytes()[1:])
    download(spec, cache)
    assert stored(spec, cache) == DATA


def test_wrong_checksum_deletes_and_names_both(server: Publisher, cache: Cache) -> None:
    other = DATA[:-1] + bytes([DATA[-1] ^ 4])
    server.add("/tool.tar.gz", other)
    spec = spec_for(server)
    with pytest.raises(IntegrityError) as caught:
        download(spec, cache)
    assert digest(DATA) in caught.value.message
    assert digest(other) in caught.value.message
    assert not leftovers(cache, ".part")
    assert not leftovers(cache, ".gz")
    assert len(server.requests) == 1


def test_flipped_bits_everywhere_are_refused(server: Publisher, cache: Cache) -> None:
    source = random.Random(11)  # noqa: S311 - places, not secrets
    data = source.randbytes(5000)
    good = spec_for(server, data)
    assert good.digest is not None
    for _ in range(120):
        place = source.randrange(3)
        served, spec = data, good
        if place == 0:
            at = source.randrange(len(data))
            served = data[:at] + bytes([data[at] ^ 1 << source.randrange(8)]) + data[at + 1 :]
        elif place == 1:
            value = bytearray.fromhex(good.digest[7:])
            value[source.randrange(32)] ^= 1 << source.randrange(8)
            spec = replace(good, digest=f"sha256:{value.hex()}")
        else:
            spec = replace(good, size=len(data) ^ 1 << source.randrange(13))
        server.add("/tool.tar.gz", served)
        with pytest.raises(IntegrityError):
            download(spec, cache)
        assert not leftovers(cache, ".gz")


def test_progress_is_at_most_ten_a_second(server: Publisher, cache: Cache) -> None:
    data = bytes(3_000_000)
    time = FakeTime()

    def tick(_offset: int) -> None:
        time.time += 0.01

    server.add("/tool.tar.gz", data).on_slice = tick
    events = download(spec_for(server, data), cache, clock=time.clock())
    assert 2 <= len(events) <= time.time / 0.1 + 3
    received = [event.bytes_downloaded for event in events if isinstance(event, ProgressEvent)]
    assert received == sorted(n for n in received if n is not None)


def test_bandwidth_limit_waits(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA)
    time = FakeTime()
    download(spec_for(server), cache, DownloadSettings(bandwidth=100_000), time.clock())
    assert sum(time.waits) == pytest.approx(len(DATA) / 100_000, rel=0.2)


def test_two_fetches_at_once_share_one_transfer(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA)
    spec = spec_for(server)

    async def one() -> None:
        async for _ in fetch(spec, cache):
            pass

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(one())
            group.create_task(one())

    asyncio.run(both())
    assert len(server.requests) == 1


def test_unverified_is_refused_unless_allowed(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA)
    spec = DownloadSpec(server.url("/tool.tar.gz"), "tool.tar.gz")
    with pytest.raises(DownloadRefusedError, match="neither checksum nor signature"):
        download(spec, cache)
    assert not server.requests
    events = download(spec, cache, DownloadSettings(allow_unverified=True))
    assert getattr(events[-1], "message", "") == "tool.tar.gz: unverified"
    assert [event.code for event in events if isinstance(event, WarningEvent)] == ["unverified"]
    assert stored(spec, cache) == DATA
    download(spec, cache, DownloadSettings(allow_unverified=True))
    assert len(server.requests) == 2


def test_no_space(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz").announced_length = 1 << 60
    spec = replace(spec_for(server), size=1 << 60, max_bytes=1 << 61)
    with pytest.raises(DownloadError, match="are free in"):
        download(spec, cache)


def test_cache_that_others_can_write_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    with pytest.raises(DownloadError, match="nobody else can write"):
        Cache(shared)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(DownloadError, match="directory of your own"):
        Cache(tmp_path / "link")


def test_part_behind_a_link_is_refused(server: Publisher, cache: Cache, tmp_path: Path) -> None:
    server.add("/tool.tar.gz", DATA)
    spec = spec_for(server)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (cache.root / f"{spec.key}.part").symlink_to(victim)
    with pytest.raises(DownloadError):
        download(spec, cache)
    assert victim.read_text() == "precious"


def test_prune_removes_what_is_old(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA)
    spec = spec_for(server)
    download(spec, cache)
    assert cache.prune(days=1) == 0
    path = asyncio.run(cache.verified(spec))
    os.utime(path, (0, 0))
    assert cache.prune(days=1) == 1
    assert not path.exists()


def test_disk_full_keeps_what_fits(server: Publisher, cache: Cache) -> None:
    """A file-size limit of the process stands in for a full disk: both fail in write(2)."""
    server.add("/tool.tar.gz", DATA)
    spec = spec_for(server)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        with pytest.raises(DownloadError, match="cannot write"):
            download(spec, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert leftovers(cache, ".part")[0].stat().st_size == 300_000
    download(spec, cache)
    assert server.requests[-1].headers["range"] == "bytes=300000-"
    assert stored(spec, cache) == DATA

"""What a server, a network or a mirror may do wrong: each refused with its own message."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from update_all.core.errors import DownloadError, DownloadRefusedError, IntegrityError
from update_all.downloads.cache import Cache
from update_all.downloads.documents import fetch_bytes, fetch_json, fetch_text
from update_all.downloads.fetch import fetch
from update_all.downloads.pace import Clock
from update_all.downloads.spec import DownloadSettings, DownloadSpec

sys.path.insert(0, str(Path(__file__).parent))
from publisher import Publisher, publisher, tls_context

DATA = b"\x1f\x8b" + bytes(range(256)) * 400
QUICK = DownloadSettings(connect_seconds=2, read_seconds=0.3, attempts=2, backoff_seconds=0.001)


@pytest.fixture
def server() -> Iterator[Publisher]:
    with publisher() as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def spec_for(server: Publisher, path: str = "/tool.tar.gz") -> DownloadSpec:
    digest = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    return DownloadSpec(server.url(path), "tool.tar.gz", digest, len(DATA))


def download(
    spec: DownloadSpec, cache: Cache, settings: DownloadSettings = QUICK, clock: Clock | None = None
) -> None:
    async def drain() -> None:
        async for _ in fetch(spec, cache, settings=settings, clock=clock):
            pass

    asyncio.run(drain())


def nothing_kept(cache: Cache) -> bool:
    return not any(path.name.endswith("tool.tar.gz") for path in cache.root.iterdir())


@pytest.mark.parametrize(
    "url", ["http://example.org/a", "ftp://127.0.0.1/a", "file:///etc/passwd", "https://", "https://u:p@h/a"]
)
def test_addresses_that_are_never_asked(cache: Cache, url: str) -> None:
    spec = DownloadSpec(url, "a.tar.gz", f"sha256:{'0' * 64}")
    with pytest.raises(DownloadRefusedError):
        download(spec, cache)


def test_configured_http_host_needs_a_digest(cache: Cache) -> None:
    settings = replace(QUICK, http_hosts=frozenset({"mirror.invalid"}), allow_unverified=True)
    with pytest.raises(DownloadRefusedError, match="plain http"):
        download(DownloadSpec("http://mirror.invalid/a", "a.tar.gz"), cache, settings)
    with pytest.raises(DownloadError, match="tries"):
        download(DownloadSpec("http://mirror.invalid/a", "a.tar.gz", f"sha256:{'0' * 64}"), cache, settings)


def test_redirects_are_followed_within_the_rules(server: Publisher, cache: Cache) -> None:
    server.add("/e/tool.tar.gz", DATA)
    server.redirect("/tool.tar.gz", "/b")
    server.redirect("/b", server.url("/c"), 301)
    server.redirect("/c", "d", 307)
    server.redirect("/d", "e/tool.tar.gz?token=1", 308)
    server.resources["/e/tool.tar.gz?token=1"] = server.resources["/e/tool.tar.gz"]
    download(spec_for(server), cache)
    assert not nothing_kept(cache)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/tool.tar.gz", "more than 5 redirects"),
        ("ftp://127.0.0.1/x", "only https"),
        ("file:///etc/passwd", "only https"),
        ("http://example.org/x", "plain http"),
        ("https://user:secret@127.0.0.1/x", "user name"),
        ("http://127.0.0.1:99999999/x", "no valid address"),
    ],
)
def test_redirects_that_are_refused(server: Publisher, cache: Cache, location: str, message: str) -> None:
    server.redirect("/tool.tar.gz", location)
    with pytest.raises(DownloadRefusedError, match=message) as caught:
        download(spec_for(server), cache)
    assert "secret" not in str(caught.value)


def test_redirect_without_an_address(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz").status = 302
    with pytest.raises(DownloadError, match="without an address"):
        download(spec_for(server), cache)


def test_redirect_outside_the_allowed_hosts(server: Publisher, cache: Cache) -> None:
    with publisher("127.0.0.2") as other:
        other.add("/tool.tar.gz", DATA)
        server.redirect("/tool.tar.gz", other.url("/tool.tar.gz"))
        spec = replace(spec_for(server), allowed_hosts=("127.0.0.1",))
        with pytest.raises(DownloadRefusedError, match="none of the hosts allowed"):
            download(spec, cache)
        assert not other.requests
        download(replace(spec, allowed_hosts=("127.0.0.1", "127.0.0.2")), cache)


@pytest.mark.parametrize("same_host", [True, False])
def test_tokens_stay_at_home(server: Publisher, cache: Cache, same_host: bool) -> None:
    secrets = {"Authorization": "Bearer canary", "Cookie": "c=canary", "PRIVATE-TOKEN": "canary"}
    with publisher("127.0.0.1" if same_host else "127.0.0.2") as other:
        other.add("/tool.tar.gz", DATA)
        server.redirect("/tool.tar.gz", other.url("/tool.tar.gz"))
        server.resources["/tool.tar.gz"].headers["Set-Cookie"] = "session=canary; Domain=127.0.0.1"
        download(replace(spec_for(server), headers={**secrets, "Accept": "x/y"}), cache)
        assert server.requests[0].headers["authorization"] == "Bearer canary"
        assert not [value for value in other.requests[0].headers.values() if "canary" in value]
        assert other.requests[0].headers["accept"] == "x/y"


def test_https_must_not_become_http(
    tmp_path: Path, cache: Cache, server: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = tls_context(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.add("/tool.tar.gz", DATA)
    with publisher(context=context) as secure:
        secure.redirect("/tool.tar.gz", server.url("/tool.tar.gz"))
        with pytest.raises(DownloadRefusedError, match="https must not become http"):
            download(spec_for(secure), cache)
        secure.add("/tool.tar.gz", DATA)
        download(spec_for(secure), cache)
    assert not server.requests


@pytest.mark.parametrize(
    ("names", "trusted"), [("IP:127.0.0.1", False), ("DNS:example.org", True), ("IP:127.0.0.9", True)]
)
def test_certificates_that_are_refused(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch, names: str, trusted: bool
) -> None:
    context, certificate = tls_context(tmp_path, names)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with publisher(context=context) as secure:
        secure.add("/tool.tar.gz", DATA)
        with pytest.raises(DownloadRefusedError, match="certificate is not trusted"):
            download(spec_for(secure), cache)
        assert not secure.requests


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"<!DOCTYPE html><html>log in</html>", "text/html", None),
        (b"\n <HTML><body>log in", "application/octet-stream", None),
        (b"<head><title>Free WiFi</title>", "text/html; charset=utf-8", None),
        (b"\xef\xbb\xbf<!doctype HTML>", "text/plain", None),
        (b"log in", "text/plain", 511),
    ],
)
def test_captive_portal(
    server: Publisher, cache: Cache, body: bytes, content_type: str, status: int | None
) -> None:
    resource = server.add("/tool.tar.gz", body)
    resource.content_type, resource.status = content_type, status
    spec = spec_for(server)
    for size in (spec.size, None):
        with pytest.raises(DownloadError, match=r"web page|log-in") as caught:
            download(replace(spec, size=size), cache)
        assert "log in" in caught.value.hint
        assert nothing_kept(cache)
    with pytest.raises(DownloadError, match=r"web page|log-in"):
        asyncio.run(fetch_json(spec.url, settings=QUICK))


def test_a_captive_portal_does_not_cost_what_was_fetched(server: Publisher, cache: Cache) -> None:
    """On a train: the first half arrives, then the network wants a log-in, then it goes on."""
    spec, whole = spec_for(server), server.add("/tool.tar.gz", DATA)
    whole.breaks = [65536]
    with pytest.raises(DownloadError):
        download(spec, cache, replace(QUICK, attempts=1))
    portal = server.add("/tool.tar.gz", b"<html>log in")
    portal.content_type, portal.ranges = "text/html", False
    with pytest.raises(DownloadError, match="web page"):
        download(spec, cache)
    server.resources["/tool.tar.gz"], sent = whole, server.sent
    download(spec, cache)
    assert server.sent - sent == len(DATA) - 65536


def test_wrong_length_announced(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA + b"x")
    with pytest.raises(IntegrityError, match=rf"wrong length: expected {len(DATA)} .* {len(DATA) + 1}"):
        download(spec_for(server), cache)


def test_more_than_announced_is_not_written(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA * 50).chunked = True
    with pytest.raises(IntegrityError, match="at most"):
        download(spec_for(server), cache)
    assert sum(path.stat().st_size for path in cache.root.iterdir()) <= len(DATA)


def test_endless_data_without_a_size(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA * 50).chunked = True
    spec = replace(spec_for(server), size=None, max_bytes=len(DATA) * 2)
    with pytest.raises(IntegrityError, match="at most"):
        download(spec, cache)
    server.add("/tool.tar.gz", DATA * 50)
    with pytest.raises(DownloadRefusedError, match="more than the limit"):
        download(spec, cache)


def test_less_than_announced(server: Publisher, cache: Cache) -> None:
    resource = server.add("/tool.tar.gz", DATA[:500])
    resource.chunked, resource.ranges = True, False
    with pytest.raises(DownloadError, match=f"ended after 500 of {len(DATA)} bytes"):
        download(spec_for(server), cache)
    assert nothing_kept(cache)


def test_wrong_range(server: Publisher, cache: Cache) -> None:
    resource = server.add("/tool.tar.gz", DATA)
    resource.breaks, resource.range_shift = [50_000], 1
    with pytest.raises(DownloadError, match="wrong range: asked for the bytes from 50000"):
        download(spec_for(server), cache)
    assert nothing_kept(cache)


def test_stalled_server(server: Publisher, cache: Cache) -> None:
    server.add("/tool.tar.gz", DATA).stall_after = 32768
    with pytest.raises(DownloadError, match=r"sent nothing for 0.3 s .*2 tries"):
        download(spec_for(server), cache)


def test_slow_server(server: Publisher, cache: Cache) -> None:
    ticks = iter(range(10_000_000))
    server.add("/tool.tar.gz", DATA)
    crawl = Clock(now=lambda: next(ticks) * 40.0)
    with pytest.raises(DownloadError, match="less than 1024000 bytes a second for 30 s"):
        download(spec_for(server), cache, replace(QUICK, slow_bytes=1_024_000), crawl)


def test_nobody_listens(server: Publisher, cache: Cache) -> None:
    spec = spec_for(server)
    server.close()
    with pytest.raises(DownloadError, match=r"no connection: .* \(2 tries\)") as caught:
        download(spec, cache)
    assert "online" in caught.value.hint


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_status_that_may_pass_is_tried_again(server: Publisher, cache: Cache, status: int) -> None:
    server.add("/tool.tar.gz", DATA).statuses = [status]
    download(spec_for(server), cache)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 501])
def test_status_that_stays_is_not_tried_again(server: Publisher, cache: Cache, status: int) -> None:
    server.add("/tool.tar.gz", DATA).statuses = [status, status]
    with pytest.raises(DownloadError, match=str(status)) as caught:
        download(spec_for(server), cache)
    assert len(server.requests) == 1
    assert bool(caught.value.hint) == (status in {403, 404, 410})


def test_retry_after_is_obeyed(server: Publisher, cache: Cache) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    resource = server.add("/tool.tar.gz", DATA)
    resource.statuses, resource.headers = [503], {"Retry-After": "7"}
    download(spec_for(server), cache, QUICK, Clock(sleep=sleep))
    assert waits == [7.0]


def test_documents(server: Publisher) -> None:
    server.add("/feed", b'[{"version": "go1.22"}]')
    assert asyncio.run(fetch_json(server.url("/feed"))) == [{"version": "go1.22"}]
    assert asyncio.run(fetch_text(server.url("/feed"))).startswith("[")
    server.add("/feed", b"{not json")
    with pytest.raises(DownloadError, match="JSON"):
        asyncio.run(fetch_json(server.url("/feed")))
    server.add("/feed", b"")
    with pytest.raises(DownloadError, match="JSON"):
        asyncio.run(fetch_json(server.url("/feed")))
    server.add("/feed", b"[" * 200_000)
    with pytest.raises(DownloadError, match="JSON"):
        asyncio.run(fetch_json(server.url("/feed")))
    server.add("/feed", b"\xff\xfe")
    with pytest.raises(DownloadError, match="UTF-8"):
        asyncio.run(fetch_text(server.url("/feed")))
    server.add("/feed", bytes(100))
    with pytest.raises(DownloadRefusedError, match="more than 99 bytes"):
        asyncio.run(fetch_bytes(server.url("/feed"), max_bytes=99))
    server.add("/feed", b"{}").statuses = [503]
    assert asyncio.run(fetch_json(server.url("/feed"), settings=QUICK)) == {}

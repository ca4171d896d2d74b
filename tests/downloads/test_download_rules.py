"""The pure parts: specs, addresses, pace, lists of checksums, the order of versions."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.errors import DownloadError, DownloadRefusedError, IntegrityError, StateError
from update_all.downloads.addresses import Address, public_form, redirect_target, require_address
from update_all.downloads.pace import MAX_WAIT_SECONDS, SlowGuard, Throttle, Ticker, backoff
from update_all.downloads.spec import (
    DownloadSettings,
    DownloadSpec,
    Signature,
    TrustLevel,
    require_trust,
)
from update_all.downloads.transport import retry_after
from update_all.downloads.verify import digest_from_sums
from update_all.downloads.versions import HighestSeen, version_key

HEX = "ab" * 32
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("digest", "source", "signature", "trust"),
    [
        (None, "", None, TrustLevel.TLS_ONLY),
        (DIGEST, "", None, TrustLevel.DIGEST_SAME_HOST),
        (DIGEST, "https://h/sums", None, TrustLevel.DIGEST_SAME_HOST),
        (DIGEST, "https://other/sums", None, TrustLevel.DIGEST_ELSEWHERE),
        (DIGEST, "", Signature("https://h/a.sig", Path("/k")), TrustLevel.SIGNED),
        (None, "", Signature("https://h/a.sig", Path("/k")), TrustLevel.SIGNED),
    ],
)
def test_trust(digest: str | None, source: str, signature: Signature | None, trust: TrustLevel) -> None:
    spec = DownloadSpec("https://h/a", "a", digest, None, source, signature)
    assert spec.trust is trust
    assert DownloadSpec.from_fact(spec.to_fact()) == spec
    if trust is TrustLevel.TLS_ONLY:
        with pytest.raises(DownloadRefusedError):
            require_trust(spec, DownloadSettings())
        require_trust(spec, DownloadSettings(allow_unverified=True))
    else:
        require_trust(spec, DownloadSettings())


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", ".hidden", "-rf", "a\nb", "a b", "x" * 151])
def test_names_that_are_no_file_names(name: str) -> None:
    with pytest.raises(DownloadError, match="file name"):
        DownloadSpec("https://h/a", name)


@pytest.mark.parametrize("digest", ["", HEX, "md5:" + "a" * 32, "sha256:" + "g" * 64, f"sha512:{HEX}"])
def test_digests_that_are_none(digest: str) -> None:
    with pytest.raises(DownloadError, match="no digest"):
        DownloadSpec("https://h/a", "a", digest)


def test_spec_shows_no_secret() -> None:
    spec = DownloadSpec("https://h/a", "a", headers={"Authorization": "canary"})
    assert "canary" not in repr(spec)
    assert "canary" not in str(spec.to_fact())


@pytest.mark.parametrize("fact", [None, 3, "x", [], {}, {"url": 1}, {"url": "https://h/a", "filename": "a"}])
def test_facts_that_are_no_download(fact: object) -> None:
    with pytest.raises(DownloadError):
        DownloadSpec.from_fact(fact)  # type: ignore[arg-type]


def test_size_beyond_the_limit() -> None:
    with pytest.raises(DownloadRefusedError, match="more than the limit"):
        DownloadSpec("https://h/a", "a", DIGEST, 5 * 1024**3)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://a.example.org/x", ("*.example.org",)),
        ("https://go.dev/x", ("dl.google.com", "go.dev")),
        ("https://GO.dev/x", ("go.dev",)),
    ],
)
def test_allowed_hosts_pass(url: str, allowed: tuple[str, ...]) -> None:
    require_address(url, Address(url, allowed_hosts=allowed))


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/x",
        "https://badexample.org/x",
        "https://a.example.org.evil/x",
        "https://a.example.org\\@evil/x",
        "https://a.example.org/ x",
        "https://a.example.org/\nx",
    ],
)
def test_hosts_that_only_look_allowed(url: str) -> None:
    with pytest.raises(DownloadRefusedError):
        require_address(url, Address(url, allowed_hosts=("*.example.org",)))


def test_never_led_to_this_machine() -> None:
    for host in ("localhost", "127.8.9.1", "[::1]"):
        with pytest.raises(DownloadRefusedError, match="this machine"):
            redirect_target("https://example.org/", f"https://{host}/", Address("https://example.org/"))


def test_public_form_hides_query_and_user() -> None:
    assert public_form("https://u:p@h:8/a/b?token=1#x") == "https://h:8/a/b"


@given(st.integers(1, 40), st.floats(0, 10), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_backoff_is_bounded(tries: int, base: float, chance: float, wish: float | None) -> None:
    wait = backoff(tries, base, chance, wish)
    assert 0 <= wait <= MAX_WAIT_SECONDS
    assert wait >= min(wish or 0, MAX_WAIT_SECONDS)
    assert backoff(tries + 1, base, chance, wish) >= wait


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(0.001, 5)), max_size=200))
def test_slow_guard_never_blames_a_fast_server(steps: list[tuple[int, float]]) -> None:
    guard, received, now = SlowGuard(100, 10.0), 0, 0.0
    guard.too_slow(0, now)
    for extra, seconds in steps:
        now += seconds
        received += extra + int(200 * seconds) + 1
        assert not guard.too_slow(received, now)


def test_slow_guard_notices_slowness_after_a_fast_start() -> None:
    guard = SlowGuard(1024, 30.0)
    guard.too_slow(0, 0.0)
    assert not guard.too_slow(10**9, 1.0)
    verdicts = [guard.too_slow(10**9 + second, float(second)) for second in range(2, 70)]
    assert verdicts.index(True) <= 32


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 2)), min_size=1, max_size=100))
def test_throttle_keeps_the_average(arrivals: list[tuple[int, float]]) -> None:
    throttle, now, total = Throttle(50_000), 0.0, 0
    for count, gap in arrivals:
        now += gap
        now += throttle.delay(count, now)
        total += count
    assert total <= 50_000 * now + 1


def test_ticker() -> None:
    ticker = Ticker(0.0)
    assert sum(ticker.due(n / 1000) for n in range(1000)) == 10


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("-1", 0.0), ("", None), ("soon", None), ("nan", None), ("inf", None)],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(value, 0.0) == seconds


def test_retry_after_date() -> None:
    assert retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 20.0) == 40.0


SUMS = [
    f"{HEX}  tool.tar.gz\n{'cd' * 32}  other.tar.gz\n",
    f"{HEX} *tool.tar.gz",
    f"{HEX.upper()}\t./dist/tool.tar.gz\r\n",
    f"SHA256 (tool.tar.gz) = {HEX}",
    f"\n{HEX}\n",
    f"# comment\n{HEX}  tool.tar.gz\n{HEX}  tool.tar.gz\n",
]


@pytest.mark.parametrize("text", SUMS)
def test_sums(text: str) -> None:
    assert digest_from_sums(text, "tool.tar.gz") == DIGEST


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not found",
        f"{HEX}  mytool.tar.gz",
        f"{HEX}  tool.tar.gz.asc",
        f"{HEX}\n{HEX}",
        f"{HEX}  tool.tar.gz\n{'cd' * 32}  tool.tar.gz",
        f"{HEX[:-2]}  tool.tar.gz",
        f"{HEX}ab  tool.tar.gz",
    ],
)
def test_sums_that_do_not_tell(text: str) -> None:
    with pytest.raises(DownloadError):
        digest_from_sums(text, "tool.tar.gz")


ORDER = [
    "0.9", "1.0.dev1", "1.0a1", "1.0b2", "1.0rc1", "1.0rc2", "1.0", "1.0.1", "1.0.2", "1.0.2a", "1.0.2b",
    "1.2.3-alpha.1", "1.2.3-beta", "1.2.3-rc.1", "1.2.3", "1.9", "1.10", "1.10.1", "2.0.0-nightly.20240101",
    "2.0", "2024", "2025.1", "20240101",
]  # fmt: skip


@pytest.mark.parametrize(("older", "newer"), list(itertools.pairwise(ORDER)))
def test_order_of_neighbours(older: str, newer: str) -> None:
    assert version_key(older) < version_key(newer)


def test_order_is_total() -> None:
    backwards = ORDER[::-1]
    assert sorted(backwards, key=version_key) == ORDER


@pytest.mark.parametrize(
    ("left", "right"), [("1.2", "1.2.0"), ("go1.22", "1.22"), ("v3.0", "3"), ("1.0+build5", "1.0")]
)
def test_equal_versions(left: str, right: str) -> None:
    assert version_key(left) == version_key(right)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_can_be_compared(left: str, right: str) -> None:
    assert (version_key(left) < version_key(right)) + (version_key(left) > version_key(right)) <= 1


def test_highest_seen(tmp_path: Path) -> None:
    seen = HighestSeen(tmp_path / "state" / "seen.json")
    seen.require("go", "1.9")
    assert seen.highest("go") is None
    seen.record("go", "1.10", DIGEST)
    seen.record("go", "1.9")
    assert HighestSeen(seen.path).highest("go") == "1.10"
    with pytest.raises(DownloadRefusedError, match=r"1\.9, which is older than 1\.10"):
        seen.require("go", "1.9")
    seen.require("go", "1.9", allow_downgrade=True)
    seen.require("go", "1.10", digest=DIGEST)
    with pytest.raises(IntegrityError, match="exchanged by its publisher"):
        seen.require("go", "1.10", digest=f"sha256:{'00' * 32}")
    seen.require("go", "1.11", digest=f"sha256:{'00' * 32}")
    seen.require("node", "1.0")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"go": 3}'])
def test_damaged_memory_is_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "seen.json"
    path.write_text(content)
    with pytest.raises(StateError):
        HighestSeen(path).require("go", "1.0")


def test_bandwidth_below_the_slow_limit() -> None:
    with pytest.raises(DownloadError, match="too small"):
        DownloadSettings(bandwidth=1000)

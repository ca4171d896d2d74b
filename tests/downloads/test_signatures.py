"""Detached signatures by a real gpg, checked by the real gpgv."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from update_all.core.errors import DownloadError, IntegrityError
from update_all.core.streaming import WarningEvent
from update_all.downloads.cache import Cache
from update_all.downloads.fetch import fetch
from update_all.downloads.spec import DownloadSpec, Signature
from update_all.downloads.verify import SignatureStatus, read_status, verify_signature

sys.path.insert(0, str(Path(__file__).parent))
from publisher import publisher

pytestmark = pytest.mark.skipif(
    not (shutil.which("gpg") and shutil.which("gpgv")), reason="needs gpg and gpgv"
)


@dataclass(frozen=True)
class Signer:
    """A key of its own in a home of its own."""

    home: Path

    def gpg(self, *arguments: str) -> bytes:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--passphrase", "", *arguments]
        return subprocess.run(argv, check=True, capture_output=True).stdout

    def sign(self, path: Path) -> Path:
        signature = path.with_name(path.name + ".sig")
        self.gpg("--yes", "--output", str(signature), "--detach-sign", str(path))
        return signature


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Signer, Signer]]:
    pair = []
    for name in ("publisher", "stranger"):
        home = tmp_path_factory.mktemp(name)
        home.chmod(0o700)
        signer = Signer(home)
        signer.gpg("--quick-generate-key", f"{name}@example.org", "ed25519", "sign", "never")
        (home / "key.gpg").write_bytes(signer.gpg("--export"))
        pair.append(signer)
    yield pair[0], pair[1]
    for signer in pair:
        subprocess.run(["gpgconf", "--homedir", str(signer.home), "--kill", "all"], check=False)


def check(path: Path, signature: Path, keyring: Path) -> SignatureStatus:
    return asyncio.run(verify_signature(path, signature, keyring)).status


def test_outcomes(signers: tuple[Signer, Signer], tmp_path: Path) -> None:
    ours, stranger = signers
    path = tmp_path / "tool.tar.gz"
    path.write_bytes(b"data")
    signature, keyring = ours.sign(path), ours.home / "key.gpg"
    good = asyncio.run(verify_signature(path, signature, keyring))
    assert good.good
    assert len(good.fingerprint) == 40
    assert check(path, signature, stranger.home / "key.gpg") is SignatureStatus.UNKNOWN_KEY
    path.write_bytes(b"date")
    assert check(path, signature, keyring) is SignatureStatus.BAD
    signature.write_bytes(b"nonsense")
    assert check(path, signature, keyring) is SignatureStatus.UNREADABLE
    assert check(path, tmp_path / "absent", keyring) is SignatureStatus.UNREADABLE
    assert check(path, signature, tmp_path / "no-keyring") is not SignatureStatus.GOOD


def test_relative_keyring_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="absolute"):
        check(tmp_path, tmp_path, Path("key.gpg"))


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ("[GNUPG:] EXPKEYSIG 1 x\n[GNUPG:] VALIDSIG A A", SignatureStatus.EXPIRED_OR_REVOKED),
        ("[GNUPG:] REVKEYSIG 1 x\n[GNUPG:] VALIDSIG A A", SignatureStatus.EXPIRED_OR_REVOKED),
        ("[GNUPG:] VALIDSIG A B\n[GNUPG:] VALIDSIG C D", SignatureStatus.UNREADABLE),
        ("VALIDSIG A B", SignatureStatus.UNREADABLE),
        ("", SignatureStatus.UNREADABLE),
    ],
)
def test_status_lines_that_are_not_good(lines: str, status: SignatureStatus) -> None:
    assert read_status(0, lines).status is status


def test_fetch_with_signature(
    signers: tuple[Signer, Signer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, stranger = signers
    path = tmp_path / "tool.tar.gz"
    path.write_bytes(b"data" * 1000)
    cache = Cache(tmp_path / "cache")

    def download(spec: DownloadSpec) -> list[object]:
        async def collect() -> list[object]:
            return [event async for event in fetch(spec, cache)]

        return asyncio.run(collect())

    with publisher() as server:
        server.add("/tool.tar.gz", path.read_bytes())
        server.add("/tool.tar.gz.sig", stranger.sign(path).read_bytes())
        signature = Signature(server.url("/tool.tar.gz.sig"), ours.home / "key.gpg")
        spec = DownloadSpec(server.url("/tool.tar.gz"), "tool.tar.gz", signature=signature)
        with pytest.raises(IntegrityError, match="unknown-key"):
            download(spec)
        assert not [file for file in cache.root.iterdir() if file.suffix in {".gz", ".part"}]
        server.add("/tool.tar.gz.sig", ours.sign(path).read_bytes())
        download(spec)
        assert asyncio.run(cache.verified(spec)).read_bytes() == path.read_bytes()

        monkeypatch.setenv("PATH", str(tmp_path))
        other = Cache(tmp_path / "other")
        digest = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        with pytest.raises(IntegrityError, match="no-tool"):
            download(spec)
        cache = other
        events = download(DownloadSpec(spec.url, spec.filename, digest, signature=signature))
        assert [event.code for event in events if isinstance(event, WarningEvent)] == ["signature-unchecked"]

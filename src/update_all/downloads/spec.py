"""What to download and how far to trust it. Values only: no I/O, no clock."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from update_all.core.errors import DownloadError, DownloadRefusedError
from update_all.core.models import JsonValue

GIB = 1024**3
DEFAULT_MAX_BYTES = 4 * GIB
DIGEST_LENGTHS: Mapping[str, int] = {"sha256": 64, "sha512": 128}
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~@-]{0,149}")


class TrustLevel(StrEnum):
    """What vouches for a file, the strongest first."""

    SIGNED = "signed"
    DIGEST_ELSEWHERE = "digest-elsewhere"
    DIGEST_SAME_HOST = "digest-same-host"
    TLS_ONLY = "tls-only"


@dataclass(frozen=True, slots=True)
class Signature:
    """A detached OpenPGP signature: where it is, and the keyring (gpgv(1), binary) that may have made it."""

    url: str
    keyring: Path


@dataclass(frozen=True, slots=True)
class DownloadSpec:
    """One file to fetch.

    `digest` is "sha256:HEX" or "sha512:HEX" and `digest_source` the URL of the document that told it: the
    trust level follows from the two and the signature, nobody can claim a better one. `size` in bytes is
    checked exactly; without it `max_bytes` is the limit. `allowed_hosts` (exact names, or "*.example.org")
    bounds the address and every redirect; empty allows any. `headers` go to the first host only and are
    never shown or persisted.

    Raises DownloadError naming the file and the field: the values come from feeds.
    """

    url: str
    filename: str
    digest: str | None = None
    size: int | None = None
    digest_source: str = ""
    signature: Signature | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    max_bytes: int = DEFAULT_MAX_BYTES

    def __post_init__(self) -> None:
        if not _FILENAME.fullmatch(self.filename):
            raise DownloadError(f"{self.filename!r}, the name of a download, is no plain file name")
        if self.digest is not None:
            object.__setattr__(self, "digest", normal_digest(self.digest, self.filename))
        if self.size is not None and (isinstance(self.size, bool) or self.size < 0):
            raise DownloadError(f"{self.filename}: the size must be a number of bytes, got {self.size!r}")
        if self.size is not None and self.size > self.max_bytes:
            raise DownloadRefusedError(
                f"{self.filename}: {self.size} bytes announced, more than the limit of {self.max_bytes}"
            )

    @property
    def trust(self) -> TrustLevel:
        """What vouches for the file."""
        if self.signature is not None:
            return TrustLevel.SIGNED
        if self.digest is None:
            return TrustLevel.TLS_ONLY
        told_by = urlsplit(self.digest_source).hostname
        if told_by and told_by != urlsplit(self.url).hostname:
            return TrustLevel.DIGEST_ELSEWHERE
        return TrustLevel.DIGEST_SAME_HOST

    @property
    def limit(self) -> int:
        """The most bytes that will be accepted."""
        return self.max_bytes if self.size is None else self.size

    @property
    def algorithm(self) -> str:
        """The hash that is computed while the file arrives."""
        return self.digest.partition(":")[0] if self.digest else "sha256"

    @property
    def key(self) -> str:
        """A file name for what is unfinished, the same in every process for the same address and digest."""
        return hashlib.sha256(f"{self.url}\n{self.digest}".encode()).hexdigest()[:32]

    def to_fact(self) -> dict[str, JsonValue]:
        """The JSON form for a plugin's facts; `headers` are left out, they may hold secrets."""
        signature = self.signature
        return {
            "url": self.url,
            "filename": self.filename,
            "digest": self.digest,
            "size": self.size,
            "digest_source": self.digest_source,
            "allowed_hosts": list(self.allowed_hosts),
            "max_bytes": self.max_bytes,
            "signature": {"url": signature.url, "keyring": str(signature.keyring)} if signature else None,
        }

    @classmethod
    def from_fact(cls, fact: JsonValue, *, headers: Mapping[str, str] | None = None) -> DownloadSpec:
        """The inverse of `to_fact`. Raises DownloadError for anything else."""
        match fact:
            case {
                "url": str(url),
                "filename": str(filename),
                "digest": str() | None as digest,
                "size": int() | None as size,
                "digest_source": str(source),
                "allowed_hosts": list(hosts),
                "max_bytes": int(max_bytes),
                "signature": signed,
            }:
                signature = None
                match signed:
                    case {"url": str(signature_url), "keyring": str(keyring)}:
                        signature = Signature(signature_url, Path(keyring))
                return cls(
                    url,
                    filename,
                    digest,
                    size,
                    source,
                    signature,
                    headers or {},
                    tuple(str(host) for host in hosts),
                    max_bytes,
                )
        raise DownloadError(f"not the description of a download: {fact!r}")


def normal_digest(text: str, owner: str) -> str:
    """ "SHA256:ABC…" → "sha256:abc…". Raises DownloadError for an unknown algorithm or a wrong length."""
    algorithm, _, value = text.strip().lower().partition(":")
    length = DIGEST_LENGTHS.get(algorithm)
    if length is None or not re.fullmatch(rf"[0-9a-f]{{{length}}}", value):
        raise DownloadError(f"{owner}: {text!r} is no digest, it must be sha256:HEX or sha512:HEX")
    return f"{algorithm}:{value}"


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """The user's settings for all downloads. Seconds and bytes (per second).

    A server that delivers less than `slow_bytes` a second over `slow_seconds` is given up on. `http_hosts`
    may be used without TLS for files whose digest is known. `attempts` counts tries without progress.
    """

    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    attempts: int = 4
    backoff_seconds: float = 1.0
    slow_bytes: int = 1024
    slow_seconds: float = 30.0
    bandwidth: int | None = None
    allow_unverified: bool = False
    http_hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.bandwidth is not None and self.bandwidth < 2 * self.slow_bytes:
            raise DownloadError(
                f"a bandwidth limit of {self.bandwidth} bytes a second is too small",
                hint=f"set it to at least {2 * self.slow_bytes}",
            )


def require_trust(spec: DownloadSpec, settings: DownloadSettings) -> None:
    """Raise DownloadRefusedError when nothing but TLS vouches for the file and the user does not allow it."""
    if spec.trust is TrustLevel.TLS_ONLY and not settings.allow_unverified:
        raise DownloadRefusedError(
            f"{spec.filename}: the publisher offers neither checksum nor signature",
            hint="to accept it all the same: update-all config set plugin.NAME.allow_unverified true",
        )

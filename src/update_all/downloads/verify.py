"""Checksums and signatures."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedReader
from pathlib import Path

from update_all.core.errors import CommandNotFoundError, DownloadError
from update_all.core.queries import query
from update_all.downloads.spec import DIGEST_LENGTHS, normal_digest


def digest_of(file: BufferedReader, algorithm: str) -> str:
    """ "sha256:HEX" of what is left to read in an open file."""
    return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def same_digest(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


_BSD_LINE = re.compile(r"(SHA256|SHA512) \((?P<name>[^()]+)\) = (?P<hex>[0-9A-Fa-f]+)")
_GNU_LINE = re.compile(r"(?P<hex>[0-9A-Fa-f]{64,128})(?:[ \t]+[ *]?(?P<name>\S.*))?")


def digest_from_sums(text: str, filename: str) -> str:
    """The digest of `filename` in a `SHA256SUMS` file, of either hash (formats of sha256sum(1), also --tag).

    A list of one line without a name speaks of the one file it lies beside. Directories before a name are
    ignored. Raises DownloadError when the file is not named, or named twice with different values.
    """
    found: set[str] = set()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        match = _BSD_LINE.fullmatch(line) or _GNU_LINE.fullmatch(line)
        if match is None:
            continue
        name, value = match["name"], match["hex"].lower()
        nameless = name is None and len(lines) == 1
        if nameless or (name is not None and name.rpartition("/")[2] == filename):
            algorithm = next((key for key, length in DIGEST_LENGTHS.items() if len(value) == length), "?")
            found.add(normal_digest(f"{algorithm}:{value}", filename))
    if len(found) != 1:
        fault = "names different checksums for" if found else "does not name"
        raise DownloadError(f"the publisher's list of checksums {fault} {filename}")
    return found.pop()


class SignatureStatus(StrEnum):
    """What gpgv(1) says. Only GOOD is a pass; NO_TOOL means that it could not be asked."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN_KEY = "unknown-key"
    EXPIRED_OR_REVOKED = "expired-or-revoked"
    UNREADABLE = "unreadable"
    NO_TOOL = "no-tool"


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """The outcome of a signature check; `fingerprint` of the primary key when it is good."""

    status: SignatureStatus
    fingerprint: str = ""

    @property
    def good(self) -> bool:
        return self.status is SignatureStatus.GOOD


_STATUS_LINES: tuple[tuple[str, SignatureStatus], ...] = (
    ("BADSIG", SignatureStatus.BAD),
    ("REVKEYSIG", SignatureStatus.EXPIRED_OR_REVOKED),
    ("EXPKEYSIG", SignatureStatus.EXPIRED_OR_REVOKED),
    ("EXPSIG", SignatureStatus.EXPIRED_OR_REVOKED),
    ("NO_PUBKEY", SignatureStatus.UNKNOWN_KEY),
)


def read_status(code: int, status_text: str) -> SignatureCheck:
    """Judge the `--status-fd` lines of gpgv (GnuPG doc/DETAILS). Anything unclear is not good."""
    lines = [line.split() for line in status_text.splitlines() if line.startswith("[GNUPG:] ")]
    for word, status in _STATUS_LINES:
        if any(len(line) > 1 and line[1] == word for line in lines):
            return SignatureCheck(status)
    valid = [line for line in lines if len(line) > 2 and line[1] == "VALIDSIG"]
    if code == 0 and len(valid) == 1:
        return SignatureCheck(SignatureStatus.GOOD, valid[0][-1])
    return SignatureCheck(SignatureStatus.UNREADABLE)


async def verify_signature(path: Path, signature: Path, keyring: Path) -> SignatureCheck:
    """Check a detached signature against a pinned keyring; no key server, no trust database.

    `keyring` is an absolute path: gpgv would look for any other in the user's home. Raises DownloadError.
    """
    if not keyring.is_absolute():
        raise DownloadError(f"the keyring must be an absolute path, got {keyring}")
    argv = ["gpgv", "--status-fd", "1", "--keyring", str(keyring), "--", str(signature), str(path)]
    try:
        output = await query(argv, timeout=300)
    except CommandNotFoundError:
        return SignatureCheck(SignatureStatus.NO_TOOL)
    return read_status(output.code, output.stdout)

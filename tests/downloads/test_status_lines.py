"""What gpgv says line by line, and what a list of checksums does not tell: judged without any tool."""

from __future__ import annotations

import pytest

from update_all.core.errors import DownloadError
from update_all.downloads.verify import SignatureStatus, digest_from_sums, read_status

VALID = "[GNUPG:] VALIDSIG A 2024-01-01 B"


@pytest.mark.parametrize(
    ("code", "lines", "status", "fingerprint"),
    [
        (0, VALID, SignatureStatus.GOOD, "B"),
        (0, f"[GNUPG:] NEWSIG\n{VALID}\n[GNUPG:]\n", SignatureStatus.GOOD, "B"),
        (0, "[GNUPG:] VALIDSIG A", SignatureStatus.GOOD, "A"),
        (1, VALID, SignatureStatus.UNREADABLE, ""),
        (0, "[GNUPG:] VALIDSIG", SignatureStatus.UNREADABLE, ""),
        (0, f"x {VALID}", SignatureStatus.UNREADABLE, ""),
        (0, "gpgv: VALIDSIG A B", SignatureStatus.UNREADABLE, ""),
        (0, f"{VALID}\ngpgv: BADSIG x", SignatureStatus.GOOD, "B"),
        (0, f"{VALID}\n[GNUPG:] \n", SignatureStatus.GOOD, "B"),
        (0, f"{VALID}\n{VALID}", SignatureStatus.UNREADABLE, ""),
        (0, f"{VALID}\n[GNUPG:] BADSIG", SignatureStatus.BAD, ""),
        (0, f"{VALID}\n[GNUPG:] EXPSIG 1 x", SignatureStatus.EXPIRED_OR_REVOKED, ""),
        (0, f"{VALID}\n[GNUPG:] NO_PUBKEY 1", SignatureStatus.UNKNOWN_KEY, ""),
    ],
)
def test_status(code: int, lines: str, status: SignatureStatus, fingerprint: str) -> None:
    found = read_status(code, lines)
    assert (found.status, found.fingerprint, found.good) == (status, fingerprint, status == "good")


def test_a_list_that_does_not_tell_says_what_is_wrong_with_it() -> None:
    with pytest.raises(DownloadError, match="does not name tool"):
        digest_from_sums(f"{'ab' * 32}  other", "tool")
    with pytest.raises(DownloadError, match="names different checksums for tool"):
        digest_from_sums(f"{'ab' * 32}  tool\n{'cd' * 32}  tool", "tool")
    with pytest.raises(DownloadError) as caught:
        digest_from_sums(f"{'ab' * 30}  tool", "tool")
    assert "tool" in caught.value.message

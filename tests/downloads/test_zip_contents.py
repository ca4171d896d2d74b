"""The contents of zip entries: as many bytes as announced, the right ones, and nothing hidden."""

from __future__ import annotations

import random
import sys
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from update_all.core.errors import ArchiveError
from update_all.downloads.members import Kind, Limits, Member
from update_all.downloads.zipball import read_zip

sys.path.insert(0, str(Path(__file__).parent))
from hostile import MIB
from zip_builder import DEFLATED, MAX32, File, both, entries, packed, read, refused, wide, zipped


@pytest.mark.parametrize("method", [0, DEFLATED])
@pytest.mark.parametrize(
    "data",
    [b"", b"x", bytes(3 * MIB), random.Random(0).randbytes(600_000)],  # noqa: S311 - data that does not pack
    ids=["empty", "one", "zeros", "noise"],
)
def test_contents_of_every_size(method: int, data: bytes) -> None:
    found = read(zipped(File(b"a", data, method=method), File(b"b", b"next", method=method)))
    assert [contents for _, contents in found] == [data, b"next"]


def test_contents_come_in_pieces() -> None:
    for _, pieces in entries(zipped(File(b"a", bytes(9 * MIB), method=DEFLATED))):
        assert max(len(piece) for piece in pieces) <= MIB


def partly(data: bytes) -> bytes:
    """All of the data, deflated, and no end."""
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


NOTHING = b"\0\0\0\xff\xff" * 60_000
"""Deflated blocks without contents (RFC 1951 section 3.2.4), more of them than are read at once."""


def test_blocks_without_contents_are_no_end() -> None:
    """And what comes in two pieces is one target."""
    data = zipped(
        File(method=DEFLATED, raw=NOTHING + packed(b"good")),
        File(b"l", b"d/tool", 0o120777, DEFLATED, raw=partly(b"d/") + NOTHING + packed(b"tool")),
    )
    assert read(data) == [
        (Member("a", Kind.FILE, 4, 0o644), b"good"),
        (Member("l", Kind.SYMLINK, target="d/tool"), b""),
    ]


DAMAGED = {
    "no end": File(method=DEFLATED, raw=partly(b"good")),
    "bytes behind the end": File(method=DEFLATED, raw=packed(b"good") + b"x"),
    "a second stream": File(method=DEFLATED, raw=packed(b"good") * 2),
    "nothing": File(method=DEFLATED, raw=b"", data=b""),
    "another checksum": both(File(), crc=1),
    "another checksum, deflated": both(File(method=DEFLATED), crc=1),
    "fewer bytes": both(File(), size=5),
    "fewer bytes, deflated": both(File(method=DEFLATED), size=5),
    "not deflated": File(method=DEFLATED, raw=b"\xff\xff"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_contents(name: str) -> None:
    refused(zipped(DAMAGED[name]), "is damaged")
    refused(zipped(File(b"b"), DAMAGED[name], File(b"c")), "is damaged")


@pytest.mark.parametrize("method", [0, DEFLATED])
def test_not_a_byte_more_than_announced_comes_out(method: int) -> None:
    file = both(File(data=bytes(5 * MIB), method=method), size=3)
    found = entries(zipped(file))
    _, pieces = next(found)
    with pytest.raises(ArchiveError, match="more than the announced 3 bytes"):
        next(pieces)


def test_contents_that_go_beyond_the_end_of_the_file() -> None:
    refused(zipped(both(File(), packed=1000, size=1000)), "ends in the middle")
    refused(zipped(File())[:20] + zipped(), "64-bit|not where it says|something lies")
    refused(zipped(both(File(), packed=0)), r"damaged|differs|lies")
    beyond = wide(1 << 40)
    refused(zipped(File(central={"offset": MAX32}, central_extra=beyond)), "overlap")


def test_targets_of_links() -> None:
    target = "t" * 1024
    assert read(zipped(File(data=target.encode(), mode=0o120777)))[0][0].target == target
    refused(zipped(File(data=b"t" * 1025, mode=0o120777)), "a target of 1025 bytes")
    refused(zipped(File(data=b"\xff", mode=0o120777)), "not UTF-8")


def test_a_bomb_is_seen_before_it_is_inflated() -> None:
    """What counts is all that was announced up to here, and all of the archive up to here."""
    file = File(method=DEFLATED)
    begin = len(file.first())
    allowed = 64 * MIB + begin
    (member, _) = next(entries(zipped(both(file, size=allowed)), Limits(ratio=1)))
    assert member.size == allowed
    with pytest.raises(ArchiveError, match="a bomb"):
        next(entries(zipped(both(file, size=allowed + 1)), Limits(ratio=1)))
    two = zipped(both(file, size=40 * MIB), both(replace(file, name=b"b"), size=40 * MIB))
    found = entries(two, Limits(ratio=1))
    assert next(found)[0].name == "a"
    with pytest.raises(ArchiveError, match="a bomb"):
        next(found)


def test_an_archive_that_ends_while_it_is_read() -> None:
    """Its length is known beforehand; somebody else shortens it."""
    with tempfile.TemporaryFile() as file:
        file.write(zipped(File(data=bytes(MIB)), File(b"b")))
        file.flush()
        found = read_zip(file, Limits())
        _, pieces = next(found)
        file.truncate(100)
        with pytest.raises(ArchiveError, match="ends in the middle"):
            list(pieces)
        with pytest.raises(ArchiveError, match="ends in the middle"):
            next(found)

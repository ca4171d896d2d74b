"""The reader of tar headers, field by field: what is taken, and what could have two meanings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from update_all.core.errors import ArchiveError
from update_all.downloads.inflate import Reader
from update_all.downloads.members import Kind, Member
from update_all.downloads.tarball import read_tar

sys.path.insert(0, str(Path(__file__).parent))
from hostile import BLOCK, END, MIB, entry, folder, hardlink, long_name, pax, symlink, tar

WHEN = 1_700_000_000
NAME, MODE, UID, SIZE, MTIME, LINK, MAGIC, DEVICE, PREFIX, UNUSED = (
    0, 100, 108, 124, 136, 157, 257, 329, 345, 500,
)  # fmt: skip


def blocks(data: bytes, size: int = 700) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(data: bytes) -> list[tuple[Member, bytes]]:
    """Every entry with its contents."""
    return [(member, b"".join(pieces)) for member, pieces in read_tar(Reader(blocks(data)))]


def first(data: bytes) -> Member:
    """The first entry, its contents unread."""
    return next(read_tar(Reader(blocks(data))))[0]


def field(raw: bytes, *changes: tuple[int, bytes]) -> bytes:
    """The entry with other bytes in its header, and the checksum of these."""
    header = bytearray(raw[:BLOCK])
    for at, new in changes:
        header[at : at + len(new)] = new
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + raw[BLOCK:]


def record(text: bytes) -> bytes:
    """A pax record in front of an entry, byte for byte."""
    return entry("PaxHeaders/x", text, kind=b"x")


def test_every_kind_is_told_with_all_that_the_header_says() -> None:
    data = tar(
        folder("d/", 0o750),
        entry("d/tool", b"#!/bin/sh\n", mode=0o755),
        entry("old", b"contents", kind=b"\0"),
        entry("older/", kind=b"\0"),
        entry("new/", kind=b"0"),
        hardlink("hard", "d/tool"),
        symlink("soft", "../x"),
    )
    assert read(data) == [
        (Member("d/", Kind.DIRECTORY, 0, 0o750, "", WHEN), b""),
        (Member("d/tool", Kind.FILE, 10, 0o755, "", WHEN), b"#!/bin/sh\n"),
        (Member("old", Kind.FILE, 8, 0o644, "", WHEN), b"contents"),
        (Member("older/", Kind.DIRECTORY, 0, 0o644, "", WHEN), b""),
        (Member("new/", Kind.FILE, 0, 0o644, "", WHEN), b""),
        (Member("hard", Kind.HARDLINK, 0, 0o644, "d/tool", WHEN), b""),
        (Member("soft", Kind.SYMLINK, 0, 0o644, "../x", WHEN), b""),
    ]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024, 5000])
def test_contents_of_every_length(size: int) -> None:
    data = bytes(range(1, 251)) * 20
    assert [contents for _, contents in read(tar(entry("a", data[:size]), entry("b", b"next")))] == [
        data[:size],
        b"next",
    ]


def test_names_and_targets_may_fill_their_fields() -> None:
    """Nothing lies between a full field and the next one."""
    name, target, prefix = "n" * 100, "t" * 100, "p" * 155
    assert first(tar(symlink(name, target))) == Member(name, Kind.SYMLINK, 0, 0o644, target, WHEN)
    full = field(entry("short"), (PREFIX, prefix.encode()), (UNUSED, b"X" * 12))
    assert first(tar(full)).name == f"{prefix}/short"
    assert first(tar(field(entry(name), (PREFIX, b"p")))).name == f"p/{name}"


@pytest.mark.parametrize("magic", [b"ustar  \0", bytes(8), b"ustar\x20\x30\x30"])
def test_only_ustar_has_a_prefix(magic: bytes) -> None:
    """GNU keeps times where ustar has the rest of the name."""
    assert first(tar(field(entry("a", magic=magic), (PREFIX, b"14520311235\0")))).name == "a"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"0000644\0", 0o644),
        (b"0000644 ", 0o644),
        (b"    644 ", 0o644),
        (b"644\0\0\0\0\0", 0o644),
        (b"    644\0", 0o644),
        (b"10000644", 0o10000644),
        (b"76543210", 0o76543210),
        (bytes(8), 0),
        (b" " * 8, 0),
        (b"\x80\0\0\0\0\0\1\xa4", 0o644),
        (b"\x80\1\0\0\0\0\0\0", 1 << 48),
    ],
)
def test_numbers(raw: bytes, value: int) -> None:
    assert first(tar(field(entry("a"), (MODE, raw)))).mode == value


@pytest.mark.parametrize(
    "raw",
    [b"0000648\0", b"0000649\0", b"000x644\0", b"-000644\0", b"0x00644\0", b"06 4 \0\0\0", b"1\x000000\0\0",
     b"\xff" * 8, b"\x81\0\0\0\0\0\0\0", b"\xff\0\0\0\0\0\0\0", b"0b1\0\0\0\0\0", b"1_0\0\0\0\0\0"],
)  # fmt: skip
@pytest.mark.parametrize(("at", "what"), [(MODE, "mode"), (SIZE, "size"), (MTIME, "time")])
def test_numbers_that_are_none(raw: bytes, at: int, what: str) -> None:
    if what == "time" and raw[0] == 0xFF:
        assert first(tar(field(entry("a"), (at, raw)))).mtime == 0, "before 1970"
        return
    with pytest.raises(ArchiveError, match=f"no valid {what}"):
        first(tar(field(entry("a"), (at, raw))))


def test_sizes_and_times_may_fill_their_fields() -> None:
    raw = field(entry("a"), (SIZE, b"700000000007"), (MTIME, b"600000000005"))
    assert (first(tar(raw)).size, first(tar(raw)).mtime) == (0o700000000007, 0o600000000005)
    wide = field(entry("a"), (SIZE, b"\x80" + bytes(9) + b"\1\2"), (MTIME, b"\x80" + bytes(9) + b"\1\3"))
    assert (first(tar(wide)).size, first(tar(wide)).mtime) == (0x102, 0x103)


def test_a_checksum_may_fill_its_field() -> None:
    header = bytearray(field(entry("a", magic=bytes(8)), (265, b"\xff" * 247)))
    total = sum(header) - sum(header[148:156]) + 8 * 32
    header[148:156] = b"%08o" % total
    assert first(tar(bytes(header))).name == "a"
    header[148:156] = b"%o\0 " % total
    assert first(tar(bytes(header))).name == "a"
    header[500] -= 1
    with pytest.raises(ArchiveError, match="checksum of a header is wrong"):
        first(tar(bytes(header)))
    header[148:156] = b"no sum!!"
    with pytest.raises(ArchiveError, match="no valid checksum"):
        first(tar(bytes(header)))


@pytest.mark.parametrize("difference", [-1, 1, 256])
def test_a_checksum_is_exact(difference: int) -> None:
    right = sum(field(entry("a"))[:148]) + 8 * 32 + sum(field(entry("a"))[156:BLOCK])
    assert first(tar(entry("a", checksum=right))).name == "a"
    with pytest.raises(ArchiveError, match="checksum of a header is wrong"):
        first(tar(entry("a", checksum=right + difference)))


@pytest.mark.parametrize("kind", [b"3", b"4", b"6", b"7", b"S", b"M", b"Z", b"D", b"A", b" "])
def test_other_kinds_are_refused(kind: bytes) -> None:
    with pytest.raises(ArchiveError, match="only files, directories and links"):
        first(tar(field(entry("a"), (156, kind))))


@pytest.mark.parametrize("kind", [b"0", b"\0", b"5"])
def test_only_links_have_a_target(kind: bytes) -> None:
    with pytest.raises(ArchiveError, match="with the target of a link"):
        first(tar(entry("a", kind=kind, link="b")))
    with pytest.raises(ArchiveError, match="with the target of a link"):
        first(tar(pax(linkpath="b"), entry("a", kind=kind)))


def test_long_names_and_targets_are_those_of_the_next_entry_only() -> None:
    name, target = "n" * 700, "t" * 600
    data = tar(
        long_name(name),
        long_name(target, b"K"),
        symlink("cut", "cut"),
        symlink("own", "target"),
        pax(path="ü", linkpath="ö", mtime="5.75", size="0"),
        symlink("x", "y"),
        pax(path="p"),
        long_name("k", b"K"),
        hardlink("x", "y"),
        entry("last", b"1"),
    )
    assert [(member.name, member.target, member.mtime) for member, _ in read(data)] == [
        (name, target, WHEN), ("own", "target", WHEN), ("ü", "ö", 5), ("p", "k", WHEN), ("last", "", WHEN),
    ]  # fmt: skip


@pytest.mark.parametrize("end", [b"", b"\0", b"\0" * 9])
def test_a_long_name_may_end_with_nulls(end: bytes) -> None:
    assert first(tar(entry("L", b"name" + end, kind=b"L"), entry("x"))).name == "name"


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (long_name("a"), long_name("b"), "two extended headers of one kind"),
        (long_name("a", b"K"), long_name("b", b"K"), "two extended headers of one kind"),
        (pax(path="a"), pax(mtime="1"), "two extended headers of one kind"),
        (pax(path="a"), long_name("b"), "two names"),
        (long_name("a"), pax(path="b"), "two names"),
        (pax(linkpath="a"), long_name("b", b"K"), "two names"),
        (long_name("a", b"K"), pax(linkpath="b"), "two names"),
        (entry("L", b"a\0b", kind=b"L"), b"", "two names"),
        (entry("K", b"a\0b\0", kind=b"K"), b"", "two names"),
        (pax(path="a\0b"), b"", "two names"),
        (pax(path="a\0"), b"", "with a NUL"),
        (pax(linkpath="a\0"), b"", "with a NUL"),
        (entry("L", b"\xff", kind=b"L"), b"", "not UTF-8"),
    ],
)
def test_what_has_two_meanings_is_refused(one: bytes, other: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        first(tar(one, other, symlink("x", "y")))


def test_a_name_in_a_header_that_does_not_count_may_be_anything() -> None:
    assert first(tar(long_name("right"), entry(b"\xff\xfe"))).name == "right"


def test_the_size_of_an_extended_header() -> None:
    """One byte to a mebibyte; whole blocks have no padding."""
    whole = "n" * (MIB - 1)
    assert first(tar(long_name(whole), entry("x"))).name == whole
    assert first(tar(entry("L", b"\0", kind=b"L"), entry("x"))).name == ""
    for raw in (entry("L", bytes(MIB + 1), kind=b"L"), entry("L", b"", kind=b"L"), entry("P", kind=b"x")):
        with pytest.raises(ArchiveError, match="an extended header of"):
            first(tar(raw, entry("x")))


def test_the_size_of_an_extended_header_may_fill_its_field() -> None:
    with pytest.raises(ArchiveError, match=f"an extended header of {0o700000000000} bytes"):
        first(tar(field(entry("L", kind=b"L"), (SIZE, b"700000000000"))))
    with pytest.raises(ArchiveError, match="no valid size"):
        first(tar(field(entry("L", b"a", kind=b"L"), (SIZE, b"00000000009\0"))))


IGNORED = ["comment", "atime", "ctime", "uid", "gid", "uname", "gname", "charset", "SCHILY__xattr__user__x",
           "LIBARCHIVE__creationtime"]  # fmt: skip


@pytest.mark.parametrize("key", IGNORED)
@pytest.mark.parametrize("value", ["1", "a\0b"])
def test_keys_that_change_nothing_here(key: str, value: str) -> None:
    records = {key: value, "mtime": "7"}
    assert read(tar(pax(b"x", **records), entry("a", b"1"))) == [
        (Member("a", Kind.FILE, 1, 0o644, "", 7), b"1")
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["ISO-IR 10646 2000 UTF-8", "BINARY"])
def test_names_in_utf_8(value: str) -> None:
    assert first(tar(pax(hdrcharset=value, path="ü"), entry("a"))).name == "ü"


@pytest.mark.parametrize(
    "key", ["unknown", "GNU__sparse__size", "GNU__sparse__map", "GNU__new", "hdrcharset", "PATH", "realsize"]
)
def test_keys_that_are_not_understood(key: str) -> None:
    with pytest.raises(ArchiveError, match="which is not understood"):
        first(tar(pax(b"x", **{key: "1"}), entry("a")))


def test_the_size_of_pax_counts() -> None:
    assert read(tar(pax(size="4"), entry("a", b"data", size=0))) == [
        (Member("a", Kind.FILE, 4, 0o644, "", WHEN), b"data")
    ]
    assert first(tar(pax(size="9" * 18), entry("a"))).size == 10**18 - 1


@pytest.mark.parametrize("key", ["size", "mtime"])
@pytest.mark.parametrize("value", ["", "x", "+5", " 5", "5 ", "0x5", "1_0", "9" * 19, "٥"])
def test_decimals_that_are_none(key: str, value: str) -> None:
    with pytest.raises(ArchiveError, match=f"no valid {key}"):
        first(tar(pax(b"x", **{key: value}), entry("a")))


def test_times_of_pax() -> None:
    for text, moment in (("1700000001", 1_700_000_001), ("3.999", 3), ("4.", 4)):
        assert first(tar(pax(mtime=text), entry("a"))).mtime == moment
    assert first(tar(pax(mtime="-5.5"), entry("a"))).name == "a"


@pytest.mark.parametrize("key", ["path", "linkpath", "size", "GNU__sparse__name"])
def test_a_global_header_must_not_change_entries(key: str) -> None:
    with pytest.raises(ArchiveError, match="for all entries"):
        first(tar(pax(b"g", comment="1", **{key: "1"}), entry("a")))


def test_a_global_header_may_say_other_things() -> None:
    data = tar(pax(b"g", comment="a commit", mtime="1"), pax(b"g", comment="2"), entry("a"), entry("b"))
    assert [(member.name, member.mtime) for member, _ in read(data)] == [("a", WHEN), ("b", WHEN)]


@pytest.mark.parametrize(
    "text",
    [b"9 path=a", b"8 path=a", b"11 path=a\n", b"8 path=a\n", b"0 path=a\n", b" path=a\n", b"path=a\n",
     b"x path=a\n", b"9 patha\n\n", b"5 =a\n", b"9\tpath=a\n", b"-9 path=a\n", b"+9 path=a\n", b"\n",
     b"9", b"2 ", b"3 \n", b"9 path=a\n\n", b"9 path=a\n9 size", b"000000000020 path=a\n",
     b"000000000000\n", b"9 p\xff\xfeh=a\n"],
)  # fmt: skip
def test_damaged_records(text: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"is damaged|not UTF-8"):
        first(tar(record(text), entry("a")))


def test_records_in_all_ways_to_write_them() -> None:
    assert first(tar(record(b"9 path=a\n8 uid=1\n"), entry("x"))).name == "a"
    assert first(tar(record(b"9 path==\n"), entry("x"))).name == "="
    assert first(tar(record(b"10 path=\n\n"), entry("x"))).name == "\n"
    assert first(tar(record(b"00000000019 path=a\n"), entry("x"))).name == "a"
    with pytest.raises(ArchiveError, match="'path' twice"):
        first(tar(record(b"9 path=a\n9 path=a\n"), entry("x")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tar(entry("a"), pax(path="b")), "without an entry"),
        (tar(entry("a"), long_name("b")), "without an entry"),
        (entry("a") + bytes(BLOCK) + b"x" * BLOCK, "no proper end mark"),
        (entry("a") + bytes(BLOCK), "truncated"),
        (entry("a"), "truncated"),
        (entry("a", b"1")[:-1], "truncated"),
        (tar(entry("a")) + b"x", "something follows"),
        (tar(entry("a")) + bytes(3000) + b"x", "something follows"),
        (tar(entry("a")) + entry("b") + END, "something follows"),
    ],
)
def test_the_end(data: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        read(data)


@pytest.mark.parametrize("more", [0, 1, 512, 10_000])
def test_zeros_may_follow_the_end(more: int) -> None:
    assert len(read(tar(entry("a")) + bytes(more))) == 1
    assert read(END + bytes(more)) == []

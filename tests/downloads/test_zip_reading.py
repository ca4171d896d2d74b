"""The reader of zip archives, record by record: what is taken, and what could have two meanings."""

from __future__ import annotations

import stat
import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from update_all.core.errors import ArchiveError
from update_all.downloads.members import Kind, Limits, Member

sys.path.insert(0, str(Path(__file__).parent))
from zip_builder import (
    DEFLATED,
    MAX32,
    UNIX,
    ZIP64,
    File,
    entries,
    extra,
    packed,
    read,
    refused,
    wide,
    zipped,
)

MAX16, UNICODE_PATH = 0xFFFF, 0x7075
DESCRIPTOR, UTF_8 = 0x0008, 0x0800
CRC = zlib.crc32(b"good")
LATER = {"crc": 0, "packed": 0, "size": 0}


def test_every_kind_is_told_with_all_that_the_directory_says() -> None:
    data = zipped(
        File(b"d/", b"", 0o040750),
        File(b"implied/", b"", 0),
        File(b"d/tool", b"#!/bin/sh\n" * 9, 0o100755, DEFLATED),
        File(b"plain", b"1", 0),
        File("ü".encode(), b"2", 0o100000, flags=UTF_8),
        File(b"link", b"d/tool", 0o120777),
        File(b"slash/", b"", 0o100600),
        File(b"elsewhere", b"3", 0o120755, central={"made_by": 0}),
        File(b"windows", b"4", 0o120755, central={"made_by": 10 << 8}),
        File(b"newer", b"5", 0o100640, central={"made_by": UNIX | 63}),
    )
    assert read(data) == [
        (Member("d/", Kind.DIRECTORY, 0, 0o750), b""),
        (Member("implied/", Kind.DIRECTORY, 0, 0), b""),
        (Member("d/tool", Kind.FILE, 90, 0o755), b"#!/bin/sh\n" * 9),
        (Member("plain", Kind.FILE, 1, 0o644), b"1"),
        (Member("ü", Kind.FILE, 1, 0o644), b"2"),
        (Member("link", Kind.SYMLINK, target="d/tool"), b""),
        (Member("slash/", Kind.FILE, 0, 0o600), b""),
        (Member("elsewhere", Kind.FILE, 1, 0o644), b"3"),
        (Member("windows", Kind.FILE, 1, 0o644), b"4"),
        (Member("newer", Kind.FILE, 1, 0o640), b"5"),
    ]


def test_the_directory_may_have_another_order() -> None:
    data = zipped(File(b"a", b"1"), File(b"b", b"2"), File(b"c", b"3"), reverse=True)
    assert [member.name for member, _ in read(data)] == ["a", "b", "c"]


def test_an_empty_archive() -> None:
    assert read(zipped()) == []
    assert read(zipped(end={"count": MAX16}, wide=({}, {}))) == []
    refused(zipped()[:-1], "too short")
    refused(b"", "too short")


@pytest.mark.parametrize(
    "end",
    [{"here": MAX16}, {"count": MAX16}, {"size": MAX32}, {"start": MAX32},
     {"here": MAX16, "count": MAX16, "size": MAX32, "start": MAX32}],
)  # fmt: skip
def test_the_64_bit_end(end: dict[str, int | bytes]) -> None:
    assert len(read(zipped(File(), File(b"b"), end=end, wide=({}, {})))) == 2
    refused(zipped(File(), File(b"b"), end=end), "64-bit directory is not where it says")
    refused(zipped(end=end), "64-bit directory is missing")


@pytest.mark.parametrize(
    "end",
    [{"magic": b"PK\5\7"}, {"comment_length": 1}, {"disk": 1}, {"start_disk": 1}, {"here": 1}, {"count": 1},
     {"here": 3}, {"size": 1}, {"start": 0}, {"size": 0}, {"here": 0, "count": 0}, {"here": 3, "count": 3},
     {"here": 1, "count": 1}],
)  # fmt: skip
def test_a_wrong_end(end: dict[str, int | bytes]) -> None:
    refused(zipped(File(), File(b"b"), end=end), "directory")


@pytest.mark.parametrize(
    "wrong",
    [{"magic": b"PK\6\5"}, {"own_size": 45}, {"own_size": 43}, {"own_size": 56}, {"disk": 1},
     {"start_disk": 1}, {"here": 1}, {"count": 1}, {"size": 1}, {"start": 0}, {"start": 1 << 60}],
)  # fmt: skip
def test_a_wrong_64_bit_end(wrong: dict[str, int | bytes]) -> None:
    refused(zipped(File(), File(b"b"), end={"count": MAX16}, wide=(wrong, {})), "64-bit directory is not")


@pytest.mark.parametrize(
    "wrong", [{"magic": b"PK\6\5"}, {"disk": 1}, {"offset": 0}, {"disks": 0}, {"disks": 2}]
)
def test_a_wrong_locator_of_the_64_bit_end(wrong: dict[str, int | bytes]) -> None:
    refused(zipped(File(), File(b"b"), end={"count": MAX16}, wide=({}, wrong)), "64-bit directory is not")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"magic": b"PK\1\3"}, "directory is damaged"),
        ({"name_length": 60_000}, "directory is damaged"),
        ({"extra_length": 60_000}, "directory is damaged"),
        ({"comment_length": 1}, "directory is damaged"),
        ({"disk": 1}, "directory is damaged"),
        ({"offset": 1}, "overlap"),
        ({"flags": 1}, "encrypted"),
        ({"method": 9}, "packed in an unknown way"),
        ({"crc": 1}, "differs"),
        ({"packed": 5}, "differs"),
        ({"size": 5}, "differs"),
        ({"flags": UTF_8}, "differs"),
        ({"method": DEFLATED}, "differs"),
    ],
)
def test_a_wrong_record_in_the_directory(wrong: dict[str, int | bytes], message: str) -> None:
    refused(zipped(File(central=wrong)), message)


def test_the_directory_holds_its_entries_and_nothing_else() -> None:
    for behind in (b"x", File(b"b").second(0), bytes(46)):
        refused(zipped(File(), behind=behind), "holds more than its entries")
    refused(zipped(File(central={"comment_length": 3}), behind=b"abc"), "an entry has a comment")


@pytest.mark.parametrize(
    "wrong",
    [{"magic": b"PK\3\5"}, {"flags": UTF_8}, {"method": DEFLATED}, {"crc": 1}, {"packed": 3}, {"size": 3},
     {"crc": 0}, {"packed": 0}, {"size": 0}, LATER],
)  # fmt: skip
def test_a_header_that_differs_from_the_directory(wrong: dict[str, int | bytes]) -> None:
    refused(zipped(File(local=wrong)), "differs from the directory")
    refused(zipped(File(b"b"), File(local=wrong)), "differs from the directory")


def test_a_name_that_differs_from_the_directory() -> None:
    for name in (b"b", b"", b"aa"):
        refused(zipped(File(local_name=name)), "differs from the directory")


@pytest.mark.parametrize("flags", [2, 4, 6, UTF_8, UTF_8 | 6])
def test_flags_that_change_nothing(flags: int) -> None:
    assert len(read(zipped(File(flags=flags, method=DEFLATED)))) == 1


@pytest.mark.parametrize("bit", [0, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15])
def test_other_flags_are_refused(bit: int) -> None:
    refused(zipped(File(flags=1 << bit)), "encrypted or packed in an unknown way")


@pytest.mark.parametrize("method", [1, 6, 9, 12, 14, 93, 95, 99])
def test_other_methods_are_refused(method: int) -> None:
    refused(zipped(File(method=method)), "encrypted or packed in an unknown way")


def bearing(place: str, more: bytes) -> bytes:
    """Two entries, extra fields in one of the places of the first."""
    return zipped(File(local_extra=more) if place == "local" else File(central_extra=more), File(b"b"))


@pytest.mark.parametrize("place", ["local", "central"])
def test_extra_fields(place: str) -> None:
    """A chain of fields; a second name must be the same one."""
    own = extra(UNICODE_PATH, b"\1" + bytes(4) + b"a")
    other = extra(UNICODE_PATH, b"\1" + bytes(4) + b"b")
    for good in (own, extra(2, b"12345") + own, own + b"123", extra(2, b"") + extra(3, b"1") + own):
        assert len(read(bearing(place, good))) == 2
    for second in (other, extra(2, b"12345") + other, extra(2, b"") + other, extra(UNICODE_PATH, b"\1")):
        refused(bearing(place, second), "has a second name")
    for damaged in (extra(2, b"1", 2), extra(2, b"1") + extra(2, b"1"), extra(2, b"") + extra(2, b""),
                    extra(3, b"1") + extra(2, b"", 1)):  # fmt: skip
        refused(bearing(place, damaged), "damaged extra fields")


def test_64_bit_sizes_in_the_directory() -> None:
    data = bytes(range(256)) * 40
    two = File(b"b", data, method=DEFLATED)
    size, small, offset = len(data), len(packed(data)), len(File().first())
    for central, values in (
        ({"size": MAX32}, [size]),
        ({"packed": MAX32}, [small]),
        ({"offset": MAX32}, [offset]),
        ({"size": MAX32, "packed": MAX32}, [size, small]),
        ({"size": MAX32, "offset": MAX32}, [size, offset]),
        ({"size": MAX32, "packed": MAX32, "offset": MAX32}, [size, small, offset]),
    ):
        good = replace(two, central=central, central_extra=wide(*values))
        assert read(zipped(File(), good))[1][1] == data
        assert read(zipped(File(), replace(good, central_extra=wide(*values, 7))))[1][1] == data
        short = extra(ZIP64, wide(*values)[4:-1])
        refused(zipped(File(), replace(good, central_extra=short)), "64-bit size is missing")
        refused(zipped(File(), replace(good, central_extra=b"")), "64-bit size is missing")
        swapped = extra(2, wide(*values)[4:])
        refused(zipped(File(), replace(good, central_extra=swapped)), "64-bit size is missing")


def test_64_bit_sizes_before_the_data() -> None:
    data = bytes(range(256)) * 40
    local = {"size": MAX32, "packed": MAX32}
    both = wide(len(data), len(packed(data)))
    file = File(b"b", data, method=DEFLATED, local=local, local_extra=both)
    assert read(zipped(File(), file))[1][1] == data
    refused(zipped(replace(file, local_extra=wide(len(packed(data)), len(data)))), "differs")
    refused(zipped(replace(file, local_extra=wide(len(data)))), "64-bit size is missing")
    refused(zipped(replace(file, local_extra=b"")), "64-bit size is missing")


def descriptor(*values: int, layout: str = "<4s3L") -> bytes:
    return struct.pack(layout, b"PK\7\x08", *values)


FORMS = [descriptor(CRC, 4, 4), descriptor(CRC, 4, 4, layout="<4sL2Q"), struct.pack("<3L", CRC, 4, 4)]


@pytest.mark.parametrize("behind", FORMS, ids=["16", "24", "12"])
def test_sizes_after_the_data(behind: bytes) -> None:
    later = File(flags=DESCRIPTOR, local=LATER, behind=behind)
    for data in (zipped(later), zipped(later, replace(later, name=b"b"), File(b"c"))):
        assert {contents for _, contents in read(data)} == {b"good"}
        assert len(list(entries(data))) == len(read(data)), "also when nobody reads the contents"
    known = File(flags=DESCRIPTOR, behind=behind)
    assert len(read(zipped(known, replace(known, name=b"b")))) == 2
    refused(zipped(replace(later, flags=0)), "differs from the directory")
    refused(zipped(File(behind=behind)), "between the last entry and the directory")
    refused(zipped(File(behind=behind), File(b"b")), "something lies between")


def test_wrong_sizes_after_the_data() -> None:
    wrong = [struct.pack("<3L", *values) for values in ((CRC ^ 1, 4, 4), (CRC, 5, 4), (CRC, 4, 5))]
    wrong += [b"PK\7\x08" + values for values in wrong]
    wrong += [descriptor(CRC, 4, 5, layout="<4sL2Q"), b"PK\7\x09" + FORMS[0][4:], b"", b"\0" * 24]
    for behind in wrong:
        refused(zipped(File(flags=DESCRIPTOR, local=LATER, behind=behind)), "descriptor after the data")
    for local in ({"crc": 1}, {"packed": 1}, {"size": 1}):
        file = File(flags=DESCRIPTOR, local={**LATER, **local}, behind=FORMS[0])
        refused(zipped(file), "header before the data differs")


def test_nothing_lies_between() -> None:
    refused(zipped(File(behind=b"x"), File(b"b")), "entries overlap, or something lies between")
    refused(zipped(File(behind=b"x")), "between the last entry and the directory")
    refused(zipped(File(), File(b"b", central={"offset": 0})), r"overlap|differs")


def test_names() -> None:
    refused(zipped(File(b"a\0b")), "holds a NUL")
    refused(zipped(File(b"\xff")), "not UTF-8")
    refused(zipped(File(b"d/", b"x", 0o040755)), "a directory with contents")
    refused(zipped(File(b"d/", b"x", 0, DEFLATED)), "a directory with contents")


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, 0o150000])
def test_other_kinds_are_refused(kind: int) -> None:
    refused(zipped(File(mode=kind | 0o644)), "of a type that is not unpacked")


def test_the_number_of_entries_is_limited() -> None:
    data = zipped(File(b"a"), File(b"b"), File(b"c"))
    assert len(read(data, Limits(entries=3))) == 3
    with pytest.raises(ArchiveError, match="more than 2 entries"):
        read(data, Limits(entries=2))

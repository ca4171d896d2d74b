"""Zip archives record by record, with any field as it should not be (APPNOTE.TXT 4.3), and their reading."""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest

from update_all.core.errors import ArchiveError
from update_all.downloads.members import Limits, Member
from update_all.downloads.zipball import read_zip

LOCAL = (
    "magic",
    "version",
    "flags",
    "method",
    "time",
    "date",
    "crc",
    "packed",
    "size",
    "name_length",
    "extra_length",
)
CENTRAL = (
    "magic",
    "made_by",
    "version",
    "flags",
    "method",
    "time",
    "date",
    "crc",
    "packed",
    "size",
    "name_length",
    "extra_length",
    "comment_length",
    "disk",
    "internal",
    "attributes",
    "offset",
)
END = ("magic", "disk", "start_disk", "here", "count", "size", "start", "comment_length")
END64 = ("magic", "own_size", "made_by", "version", "disk", "start_disk", "here", "count", "size", "start")
LOCATOR = ("magic", "disk", "offset", "disks")
Fields = Mapping[str, int | bytes]
UNIX, DEFLATED, ZIP64, MAX32 = 3 << 8, 8, 0x0001, 0xFFFFFFFF


def packed(data: bytes) -> bytes:
    """Deflated, as an entry holds it."""
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush()


def record(layout: str, names: tuple[str, ...], right: Fields, wrong: Fields) -> bytes:
    assert set(wrong) <= set(names), wrong
    fields = {**dict.fromkeys(names, 0), **right, **wrong}
    return struct.pack(layout, *fields.values())


def extra(identity: int, value: bytes, length: int | None = None) -> bytes:
    """One extra field; `length` where it claims another one."""
    return struct.pack("<HH", identity, len(value) if length is None else length) + value


@dataclass(frozen=True)
class File:
    """One entry. `raw` are the bytes that lie in the archive, `local` and `central` fields that are other."""

    name: bytes = b"a"
    data: bytes = b"good"
    mode: int = 0o100644
    method: int = 0
    flags: int = 0
    raw: bytes | None = None
    local: Fields = field(default_factory=dict)
    central: Fields = field(default_factory=dict)
    local_name: bytes | None = None
    local_extra: bytes = b""
    central_extra: bytes = b""
    behind: bytes = b""

    def contents(self) -> bytes:
        return self.raw if self.raw is not None else packed(self.data) if self.method else self.data

    def fields(self, name: bytes, more: bytes) -> dict[str, int | bytes]:
        return {
            "flags": self.flags, "method": self.method, "crc": zlib.crc32(self.data),
            "packed": len(self.contents()), "size": len(self.data),
            "name_length": len(name), "extra_length": len(more),
        }  # fmt: skip

    def first(self) -> bytes:
        """The header before the data, the data, and what comes behind it."""
        name = self.name if self.local_name is None else self.local_name
        right = {**self.fields(name, self.local_extra), "magic": b"PK\3\4"}
        header = record("<4s5H3L2H", LOCAL, right, self.local)
        return header + name + self.local_extra + self.contents() + self.behind

    def second(self, offset: int) -> bytes:
        """The record in the directory."""
        right = {**self.fields(self.name, self.central_extra), "magic": b"PK\1\2", "made_by": UNIX}
        right |= {"attributes": self.mode << 16, "offset": offset}
        header = record("<4s6H3L5H2L", CENTRAL, right, self.central)
        return header + self.name + self.central_extra


def end64(start: int, size: int, count: int, record_fields: Fields, locator_fields: Fields) -> bytes:
    right: Fields = {"magic": b"PK\6\6", "own_size": 44, "here": count, "count": count, "size": size,
                     "start": start}  # fmt: skip
    locator: Fields = {"magic": b"PK\6\7", "offset": start + size, "disks": 1}
    return record("<4sQ2H2L4Q", END64, right, record_fields) + record(
        "<4sLQL", LOCATOR, locator, locator_fields
    )


def zipped(
    *files: File,
    end: Fields | None = None,
    wide: tuple[Fields, Fields] | None = None,
    reverse: bool = False,
    behind: bytes = b"",
) -> bytes:
    """An archive. `end` are fields of its end that are other, `wide` those of the 64-bit end and its locator;
    `reverse` turns the directory round, `behind` is added to it."""
    data, directory = b"", []
    for file in files:
        directory.append(file.second(len(data)))
        data += file.first()
    whole = b"".join(directory[::-1] if reverse else directory) + behind
    right: Fields = {"magic": b"PK\5\6", "here": len(files), "count": len(files), "size": len(whole),
                     "start": len(data)}  # fmt: skip
    more = b"" if wide is None else end64(len(data), len(whole), len(files), *wide)
    return data + whole + more + record("<4s4H2LH", END, right, end or {})


def both(file: File, **wrong: int) -> File:
    """The file with the same wrong fields before the data and in the directory."""
    return replace(file, local=wrong, central=wrong)


def wide(*values: int) -> bytes:
    """The extra field of 64-bit sizes."""
    return extra(ZIP64, b"".join(value.to_bytes(8, "little") for value in values))


def entries(data: bytes, limits: Limits | None = None) -> Iterator[tuple[Member, Iterator[bytes]]]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield from read_zip(file, limits or Limits())


def read(data: bytes, limits: Limits | None = None) -> list[tuple[Member, bytes]]:
    """Every entry with its contents."""
    return [(member, b"".join(pieces)) for member, pieces in entries(data, limits)]


def refused(data: bytes, message: str) -> None:
    """Holds that reading it to the end is refused with this message."""
    with pytest.raises(ArchiveError, match=message):
        read(data)

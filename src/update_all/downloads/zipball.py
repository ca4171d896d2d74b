"""A strict reader of zip archives (APPNOTE.TXT): one meaning only, no gaps, no overlap, no surprises."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from update_all.core.errors import ArchiveError
from update_all.downloads.inflate import INPUT_BYTES, OUTPUT_BYTES
from update_all.downloads.members import Kind, Limits, Member, decode_name

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _DESCRIPTOR = 0x0001, 0x0008
_KNOWN_FLAGS = 0x0001 | 0x0006 | _DESCRIPTOR | 0x0800
_MAX_LINK = 1024
_UNICODE_PATH, _ZIP64 = 0x7075, 0x0001


@dataclass(frozen=True, slots=True)
class _Entry:
    """A record of the central directory."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int


def read_zip(file: BinaryIO, limits: Limits) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """Each entry, in the order of the file, with its contents, to be consumed before the next.

    Every byte of the archive must belong to exactly one entry or to the directory, and the header before the
    data must say what the directory says. Raises ArchiveError otherwise.
    """
    length = os.fstat(file.fileno()).st_size
    start, size, count = _directory_place(file, length)
    if count > limits.entries:
        raise ArchiveError(f"more than {limits.entries} entries")
    entries = sorted(_central_entries(_read(file, start, size), count), key=lambda entry: entry.offset)
    position = inflated = 0
    for entry in entries:
        if entry.offset != position:
            raise ArchiveError("entries overlap, or something lies between them")
        data_start = _require_local(file, entry)
        inflated += entry.size
        limits.require_ratio(data_start + entry.packed, inflated)
        contents = _contents(file, data_start, entry)
        yield _member(entry, contents)
        position = data_start + entry.packed + _descriptor_length(file, data_start, entry)
    if position != start:
        raise ArchiveError("something lies between the last entry and the directory")


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    data = file.read(size)
    if len(data) != size:
        raise ArchiveError("the archive ends in the middle: truncated")
    return data


def _directory_place(file: BinaryIO, length: int) -> tuple[int, int, int]:
    """Offset, size and number of entries of the central directory."""
    if length < _END.size:
        raise ArchiveError("too short for a zip archive")
    end_at = length - _END.size
    magic, disk, start_disk, here, count, size, start, comment = _END.unpack(_read(file, end_at, _END.size))
    if magic != b"PK\5\6" or comment:
        raise ArchiveError(
            "the zip archive does not end with its directory: truncated, trailing or a comment"
        )
    if 0xFFFF in {here, count} or 0xFFFFFFFF in {size, start}:
        return _directory_place64(file, end_at)
    if disk or start_disk or here != count or start + size != end_at:
        raise ArchiveError("the zip archive's directory is not where it says")
    return start, size, count


def _directory_place64(file: BinaryIO, end_at: int) -> tuple[int, int, int]:
    locator_at = end_at - _LOCATOR64.size
    record_at = locator_at - _END64.size
    if record_at < 0:
        raise ArchiveError("the zip archive's 64-bit directory is missing")
    magic, disk, offset, disks = _LOCATOR64.unpack(_read(file, locator_at, _LOCATOR64.size))
    record = _END64.unpack(_read(file, record_at, _END64.size))
    right = magic == b"PK\6\7" and disk == 0 and disks == 1 and offset == record_at
    _, own_size, _, _, disk, start_disk, here, count, size, start = record
    right = right and record[0] == b"PK\6\6" and own_size == _END64.size - 12
    if not right or disk or start_disk or here != count or start + size != record_at:
        raise ArchiveError("the zip archive's 64-bit directory is not where it says")
    return start, size, count


def _central_entries(directory: bytes, count: int) -> Iterator[_Entry]:
    position = 0
    for _ in range(count):
        fixed = directory[position : position + _CENTRAL.size]
        if len(fixed) != _CENTRAL.size or not fixed.startswith(b"PK\1\2"):
            raise ArchiveError("the zip archive's directory is damaged")
        fields = _CENTRAL.unpack(fixed)
        _, made_by, _, flags, method, _, _, crc, packed, size = fields[:10]
        name_length, extra_length, comment_length, disk, _, attributes, offset = fields[10:]
        name_at = position + _CENTRAL.size
        extra_at = name_at + name_length
        position = extra_at + extra_length + comment_length
        extra = directory[extra_at : extra_at + extra_length]
        if position > len(directory) or comment_length or disk:
            raise ArchiveError("the zip archive's directory is damaged, or an entry has a comment")
        raw_name = directory[name_at:extra_at]
        fields64 = _extra_fields(extra, raw_name).get(_ZIP64, b"")
        size, packed, offset = _widen(fields64, size, packed, offset)
        if flags & ~_KNOWN_FLAGS or flags & _ENCRYPTED or method not in {_STORED, _DEFLATED}:
            raise ArchiveError(f"{raw_name!r} is encrypted or packed in an unknown way")
        mode = attributes >> 16 if made_by >> 8 == 3 else 0
        yield _Entry(raw_name, flags, method, crc, packed, size, offset, mode)
    if position != len(directory):
        raise ArchiveError("the zip archive's directory holds more than its entries")


def _extra_fields(extra: bytes, name: bytes) -> dict[int, bytes]:
    """Extra fields by id. A Unicode path that differs from the name is refused: two names, two readers."""
    fields: dict[int, bytes] = {}
    position = 0
    while position + 4 <= len(extra):
        identity, length = struct.unpack_from("<HH", extra, position)
        value = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if len(value) != length or identity in fields:
            raise ArchiveError(f"{name!r} has damaged extra fields")
        fields[identity] = value
    if _UNICODE_PATH in fields and fields[_UNICODE_PATH][5:] != name:
        raise ArchiveError(f"{name!r} has a second name")
    return fields


def _widen(field: bytes, *values: int) -> list[int]:
    """Take from the zip64 field what did not fit into 32 bits, in the order of the specification."""
    wide: list[int] = []
    for value in values:
        if value == 0xFFFFFFFF:
            if len(field) < 8:
                raise ArchiveError("a 64-bit size is missing")
            wide.append(int.from_bytes(field[:8], "little"))
            field = field[8:]
        else:
            wide.append(value)
    return wide


def _require_local(file: BinaryIO, entry: _Entry) -> int:
    """Compare the header before the data with the directory; returns where the data begins."""
    header = _LOCAL.unpack(_read(file, entry.offset, _LOCAL.size))
    magic, _, flags, method, _, _, crc, packed, size, name_length, extra_length = header
    name_at = entry.offset + _LOCAL.size
    name = _read(file, name_at, name_length)
    extra = _extra_fields(_read(file, name_at + name_length, extra_length), name)
    size, packed = _widen(extra.get(_ZIP64, b""), size, packed)
    same = magic == b"PK\3\4" and (flags, method, name) == (entry.flags, entry.method, entry.raw_name)
    values = (crc, packed, size)
    later = bool(flags & _DESCRIPTOR) and values == (0, 0, 0)
    if not same or not (later or values == (entry.crc, entry.packed, entry.size)):
        raise ArchiveError(f"{entry.raw_name!r}: the header before the data differs from the directory")
    return name_at + len(name) + int(extra_length)


def _descriptor_length(file: BinaryIO, data_start: int, entry: _Entry) -> int:
    """The length of the data descriptor (APPNOTE 4.3.9), which must repeat the directory's values."""
    if not entry.flags & _DESCRIPTOR:
        return 0
    file.seek(data_start + entry.packed)
    found = file.read(24)
    for layout in ("<4s3L", "<4sL2Q"):
        if len(found) >= struct.calcsize(layout):
            magic, *values = struct.unpack_from(layout, found)
            if magic == b"PK\7\x08" and tuple(values) == (entry.crc, entry.packed, entry.size):
                return struct.calcsize(layout)
    if len(found) >= 12 and struct.unpack_from("<3L", found) == (entry.crc, entry.packed, entry.size):
        return 12
    raise ArchiveError(f"{entry.raw_name!r}: the descriptor after the data differs from the directory")


def _contents(file: BinaryIO, start: int, entry: _Entry) -> Iterator[bytes]:
    """The inflated bytes: as many as announced, with the right CRC, from all of the packed ones."""
    file.seek(start)
    decoder = zlib.decompressobj(wbits=-15)
    left, produced, crc = entry.packed, 0, 0
    data = b""
    while True:
        if not data and left:
            data = file.read(min(INPUT_BYTES, left))
            left -= len(data)
            if not data:
                raise ArchiveError("the archive ends in the middle: truncated")
        try:
            block = decoder.decompress(data, OUTPUT_BYTES) if entry.method == _DEFLATED else data
        except zlib.error as error:
            raise ArchiveError(f"{entry.raw_name!r} is damaged: {error}") from None
        data = decoder.unconsumed_tail
        produced += len(block)
        if produced > entry.size:
            raise ArchiveError(f"{entry.raw_name!r} holds more than the announced {entry.size} bytes")
        crc = zlib.crc32(block, crc)
        if block:
            yield block
        elif not data and not left:
            break
    complete = entry.method == _STORED or (decoder.eof and not decoder.unused_data)
    if not complete or produced != entry.size or crc != entry.crc:
        raise ArchiveError(f"{entry.raw_name!r} is damaged: length or checksum is wrong")


def _member(entry: _Entry, contents: Iterator[bytes]) -> tuple[Member, Iterator[bytes]]:
    name = decode_name(entry.raw_name)
    kind = stat.S_IFMT(entry.mode)
    if b"\0" in entry.raw_name:
        raise ArchiveError(f"{name!r} holds a NUL")
    if kind == stat.S_IFLNK:
        if entry.size > _MAX_LINK:
            raise ArchiveError(f"{name!r} is a link with a target of {entry.size} bytes")
        return Member(name, Kind.SYMLINK, target=decode_name(b"".join(contents))), iter(())
    if kind == stat.S_IFDIR or (not kind and name.endswith("/")):
        if any(contents):
            raise ArchiveError(f"{name!r} is a directory with contents")
        return Member(name, Kind.DIRECTORY, mode=stat.S_IMODE(entry.mode)), iter(())
    if kind not in {0, stat.S_IFREG}:
        raise ArchiveError(f"{name!r} is of a type that is not unpacked")
    mode = stat.S_IMODE(entry.mode) or 0o644
    return Member(name, Kind.FILE, entry.size, mode), contents

"""A strict reader of tar headers: POSIX ustar and pax, GNU long names (tar(5) of libarchive)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from update_all.core.errors import ArchiveError
from update_all.downloads.inflate import Reader
from update_all.downloads.members import MIB, Kind, Member, decode_name

BLOCK = 512
_ZERO = bytes(BLOCK)
_KINDS = {b"0": Kind.FILE, b"\0": Kind.FILE, b"1": Kind.HARDLINK, b"2": Kind.SYMLINK, b"5": Kind.DIRECTORY}
_MAX_EXTENSION = 1 * MIB
_IGNORED_PAX = frozenset({"comment", "atime", "ctime", "uid", "gid", "uname", "gname", "charset"})


@dataclass(slots=True)
class _Extension:
    """What extended headers say about the next entry."""

    name: str | None = None
    target: str | None = None
    size: int | None = None
    mtime: int | None = None
    seen: set[bytes] = field(default_factory=set)

    def note(self, kind: bytes) -> None:
        if kind in self.seen:
            raise ArchiveError("an entry has two extended headers of one kind")
        self.seen.add(kind)


def read_tar(reader: Reader) -> Iterator[tuple[Member, Iterator[memoryview]]]:
    """Each entry with its contents, which must be consumed before the next entry is asked for.

    Ends after two zero blocks and nothing but zeros to the end of the stream. Raises ArchiveError for every
    type that is not unpacked (devices, pipes, sparse files …) and for whatever two readers could understand
    differently.
    """
    extension = _Extension()
    while True:
        header = reader.read(BLOCK)
        if header == _ZERO:
            break
        _require_checksum(header)
        kind = header[156:157]
        if kind in b"xgLK" and kind:
            _extend(extension, kind, _extension_data(reader, header))
            continue
        member = _member(header, kind, extension)
        extension = _Extension()
        yield member, reader.pieces(member.size)
        if padding := -member.size % BLOCK:
            reader.read(padding)
    if extension.seen:
        raise ArchiveError("an extended header without an entry")
    if reader.read(BLOCK) != _ZERO:
        raise ArchiveError("the archive has no proper end mark")
    for piece in reader.rest():
        if any(piece):
            raise ArchiveError("something follows the end of the archive")


def _require_checksum(header: bytes) -> None:
    expected = sum(header) - sum(header[148:156]) + 8 * 32
    if _number(header[148:156], "checksum") != expected:
        raise ArchiveError("the checksum of a header is wrong: damaged, or no tar archive")


def _number(raw: bytes, what: str) -> int:
    """Octal digits, or GNU's base 256; negative numbers are refused."""
    if raw[0] == 0x80:
        return int.from_bytes(raw[1:], "big")
    digits = raw.rstrip(b"\0 ").lstrip(b" ")
    if not digits:
        return 0
    if raw[0] & 0x80 or any(digit not in b"01234567" for digit in digits):
        raise ArchiveError(f"a header holds no valid {what}: {raw!r}")
    return int(digits, 8)


def _text(raw: bytes) -> bytes:
    return raw.partition(b"\0")[0]


def _extension_data(reader: Reader, header: bytes) -> bytes:
    size = _number(header[124:136], "size")
    if not 0 < size <= _MAX_EXTENSION:
        raise ArchiveError(f"an extended header of {size} bytes")
    data = reader.read(size)
    reader.read(-size % BLOCK)
    return data


def _extend(extension: _Extension, kind: bytes, data: bytes) -> None:
    if kind == b"g":
        for key, _ in _pax_records(data):
            if key in {"path", "linkpath", "size"} or key.startswith("GNU.sparse"):
                raise ArchiveError(f"a global header sets {key!r} for all entries")
        return
    extension.note(kind)
    if kind == b"L":
        extension.name = _long_name(extension.name, data)
    elif kind == b"K":
        extension.target = _long_name(extension.target, data)
    else:
        _apply_pax(extension, data)


def _long_name(known: str | None, data: bytes) -> str:
    name, _, rest = data.partition(b"\0")
    if known is not None or rest.strip(b"\0"):
        raise ArchiveError("an entry has two names")
    return decode_name(name)


def _apply_pax(extension: _Extension, data: bytes) -> None:
    seen: set[str] = set()
    for key, value in _pax_records(data):
        if key in seen:
            raise ArchiveError(f"an extended header sets {key!r} twice")
        seen.add(key)
        match key:
            case "path":
                extension.name = _long_name(extension.name, value + b"\0" if b"\0" not in value else value)
            case "linkpath":
                extension.target = _long_name(extension.target, value)
            case "size":
                extension.size = _decimal(key, value)
            case "mtime":
                extension.mtime = _decimal(key, value.partition(b".")[0].removeprefix(b"-"))
            case _ if key in _IGNORED_PAX or ("." in key and not key.startswith("GNU.")):
                continue
            case "hdrcharset" if value in {b"ISO-IR 10646 2000 UTF-8", b"BINARY"}:
                continue
            case _:
                raise ArchiveError(f"an extended header sets {key!r}, which is not understood")
        if b"\0" in value:
            raise ArchiveError(f"an extended header sets {key!r} with a NUL")


def _decimal(key: str, value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise ArchiveError(f"an extended header holds no valid {key}: {value[:40]!r}")
    return int(value)


def _pax_records(data: bytes) -> Iterator[tuple[str, bytes]]:
    """ "LENGTH KEY=VALUE\\n" records (POSIX pax, "pax Extended Header")."""
    while data:
        digits, blank, _ = data[:12].partition(b" ")
        length = int(digits) if blank and digits.isdigit() else 0
        record = data[:length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if len(record) != length or not record.endswith(b"\n") or not equals or not key:
            raise ArchiveError("an extended header is damaged")
        yield decode_name(key), value
        data = data[length:]


def _member(header: bytes, kind: bytes, extension: _Extension) -> Member:
    name = extension.name if extension.name is not None else _header_name(header)
    if kind not in _KINDS:
        raise ArchiveError(f"{name!r} is of type {kind!r}: only files, directories and links are unpacked")
    resolved = _KINDS[kind]
    if kind == b"\0" and name.endswith("/"):
        resolved = Kind.DIRECTORY
    target = extension.target if extension.target is not None else decode_name(_text(header[157:257]))
    if resolved in {Kind.FILE, Kind.DIRECTORY} and target:
        raise ArchiveError(f"{name!r} is a {resolved} with the target of a link")
    size = extension.size if extension.size is not None else _number(header[124:136], "size")
    mtime = extension.mtime if extension.mtime is not None else _mtime(header)
    return Member(name, resolved, size, _number(header[100:108], "mode"), target, mtime)


def _mtime(header: bytes) -> int:
    return 0 if header[136] == 0xFF else _number(header[136:148], "time")


def _header_name(header: bytes) -> str:
    name, prefix = _text(header[:100]), b""
    if header[257:263] == b"ustar\0":
        prefix = _text(header[345:500])
    return decode_name(prefix + b"/" + name if prefix else name)

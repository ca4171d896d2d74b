"""Builds archives byte by byte, most of which no honest tool would write."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable

BLOCK = 512
END = bytes(2 * BLOCK)
MIB = 1024**2


def entry(
    name: str | bytes,
    data: bytes = b"",
    *,
    kind: bytes = b"0",
    link: str = "",
    mode: int = 0o644,
    size: int | bytes | None = None,
    magic: bytes = b"ustar\x0000",
    checksum: int | None = None,
) -> bytes:
    """One tar entry: header, contents, padding."""
    raw = name if isinstance(name, bytes) else name.encode()
    length = size if isinstance(size, bytes) else b"%011o\0" % (len(data) if size is None else size)
    header = bytearray(BLOCK)
    header[0 : min(100, len(raw))] = raw[:100]
    header[100:108] = b"%07o\0" % mode
    header[108:124] = b"0000000\x000000000\0"
    header[124:136] = length
    header[136:148] = b"%011o\0" % 1_700_000_000
    header[156:157] = kind
    header[157 : 157 + len(link.encode())] = link.encode()
    header[257:265] = magic
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % (sum(header) if checksum is None else checksum)
    return bytes(header) + data + bytes(-len(data) % BLOCK)


def folder(name: str, mode: int = 0o755) -> bytes:
    return entry(name, kind=b"5", mode=mode)


def symlink(name: str, target: str) -> bytes:
    return entry(name, kind=b"2", link=target)


def hardlink(name: str, target: str) -> bytes:
    return entry(name, kind=b"1", link=target)


def long_name(name: str, kind: bytes = b"L") -> bytes:
    return entry("././@LongLink", name.encode() + b"\0", kind=kind)


def pax(kind: bytes = b"x", **records: str) -> bytes:
    data = b""
    for key, value in records.items():
        text = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(text) + 1
        while len(str(length)) + len(text) != length:
            length = len(str(length)) + len(text)
        data += str(length).encode() + text
    return entry("PaxHeaders/x", data, kind=kind)


def tar(*entries: bytes, end: bytes = END) -> bytes:
    return b"".join(entries) + end


GOOD = tar(entry("a", b"good"))
DEEP = "/".join(["d"] * 41)


def _zip(*files: tuple[str, bytes], mode: int = 0o100644, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files:
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            info.external_attr, info.create_system, info.compress_type = mode << 16, 3, method
            archive.writestr(info, data)
    return buffer.getvalue()


def _patch(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


ZIP = _zip(("a", b"good" * 100))
CENTRAL = ZIP.index(b"PK\1\2")
TWO = _zip(("a", b"one"), ("b", b"two"), method=zipfile.ZIP_STORED)
SECOND_LOCAL = TWO.index(b"PK\3\4", 4)


def _zip_overlap() -> bytes:
    """Two directory records for one entry: the trick of the overlapping bomb (CVE-2024-0450)."""
    start, end = ZIP.index(b"PK\1\2"), ZIP.index(b"PK\5\6")
    record = ZIP[start:end]
    directory = record + record.replace(b"a", b"b")
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(directory), start, 0)
    return ZIP[:start] + directory + tail


def _gap() -> bytes:
    """Bytes between the entry and the directory that belong to nobody."""
    gap = b"hidden"
    data = bytearray(ZIP[:CENTRAL] + gap + ZIP[CENTRAL:])
    struct.pack_into("<L", data, len(data) - 6, CENTRAL + len(gap))
    return bytes(data)


def zip_bomb() -> bytes:
    return _zip(("bomb", bytes(300 * MIB)))


def gzip_bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(entry("bomb", size=600 * MIB))
    block = bytes(MIB)
    return head + b"".join(packer.compress(block) for _ in range(600)) + packer.flush()


def bz2_bomb() -> bytes:
    return bz2.compress(entry("bomb", size=300 * MIB)) + bz2.compress(bytes(100 * MIB)) * 3


def many_entries() -> bytes:
    return gzip.compress(b"".join(entry(f"f{n}") for n in range(150_001)) + END, 1)


_BAD_NAMES: dict[str, str | bytes] = {
    "absolute": "/tmp/evil",
    "parent": "../evil",
    "parent in the middle": "a/../../evil",
    "parent at the end": "a/..",
    "only parent": "..",
    "empty": "",
    "only slash": "/",
    "double slash": "a//b",
    "dot in the middle": "a/./b",
    "backslash": "..\\evil",
    "drive": "C:evil",
    "newline": "a\nb",
    "escape sequence": "a\x1b[2Jb",
    "delete character": "a\x7fb",
    "bidi override": "a\u202etxt.exe",
    "zero width": "a\u200bb",
    "line separator": "a\u2028b",
    "C1 control": "a\x9bb",
    "not UTF-8": b"a\xff\xfe",
    "option": "-rf",
    "option below a dot": "./--checkpoint-action=exec=sh",
    "too deep": DEEP,
}
_TAR: dict[str, bytes] = {
    **{f"name {label}": tar(entry(name, b"evil")) for label, name in _BAD_NAMES.items()},
    "long name too long": tar(long_name("a/" * 600 + "b"), entry("x", b"evil")),
    "long component": tar(long_name("b" * 256), entry("x", b"evil")),
    "long name parent": tar(long_name("../evil"), entry("x", b"evil")),
    "pax parent": tar(pax(path="../evil"), entry("x", b"evil")),
    "pax absolute": tar(pax(path="/tmp/evil"), entry("x", b"evil")),
    "pax NUL": tar(pax(path="a\0b"), entry("x", b"evil")),
    "pax and long name": tar(pax(path="a"), long_name("b"), entry("x")),
    "two pax headers": tar(pax(path="a"), pax(path="b"), entry("x")),
    "pax key twice": tar(entry("P", b"9 path=a\n9 path=b\n", kind=b"x"), entry("x")),
    "pax global path": tar(pax(b"g", path="evil"), entry("x")),
    "pax damaged": tar(entry("P", b"999 path=a\n", kind=b"x"), entry("x")),
    "pax huge": tar(entry("P", kind=b"x", size=2 * MIB), bytes(2 * MIB), entry("x")),
    "pax negative size": tar(pax(size="-512"), entry("x", b"evil")),
    "pax sparse": tar(pax(GNU__sparse__size="9"), entry("x", b"evil")),
    "pax without entry": tar(pax(path="a")),
    "pax linkpath out": tar(pax(linkpath="../../evil"), symlink("x", "y")),
    "ustar prefix parent": tar(_patch(entry("evil"), 345, b"..")),
    "twice": tar(entry("a", b"1"), entry("a", b"2")),
    "twice with dot": tar(entry("a", b"1"), entry("./a", b"2")),
    "file as folder": tar(entry("a", b"1"), entry("a/b", b"2")),
    "folder as file": tar(entry("a/b", b"1"), entry("a", b"2")),
    "link absolute": tar(symlink("a", "/etc/passwd")),
    "link parent": tar(symlink("a", "../evil")),
    "link deep parent": tar(folder("d"), symlink("d/a", "../../evil")),
    "link empty": tar(symlink("a", "")),
    "link name with slash": tar(symlink("a/", "b")),
    "link with control characters": tar(symlink("a", "b\x1b[0m")),
    "link through": tar(symlink("a", "."), entry("a/evil", b"evil")),
    "link through to outside": tar(symlink("a", "/tmp"), entry("a/evil", b"evil")),
    "link chain out": tar(folder("d"), symlink("d/l", ".."), symlink("m", "d/l/../evil")),
    "link chain long way": tar(folder("a/b"), symlink("a/b/u", "../.."), symlink("o", "a/b/u/../x")),
    "link circle": tar(symlink("a", "b"), symlink("b", "a")),
    "link to itself": tar(symlink("a", "a")),
    "link after file": tar(entry("a", b"1"), symlink("a", "b")),
    "file over link": tar(symlink("a", "b"), entry("a", b"evil")),
    "link as root": tar(symlink(".", "/tmp")),
    "link with contents": tar(entry("a", b"data", kind=b"2", link="b")),
    "hard link out": tar(hardlink("a", "../evil")),
    "hard link absolute": tar(hardlink("a", "/etc/passwd")),
    "hard link to nothing": tar(hardlink("a", "b")),
    "hard link to link": tar(symlink("s", "x"), hardlink("h", "s")),
    "hard link to folder": tar(folder("d"), hardlink("h", "d")),
    "hard link forward": tar(hardlink("h", "a"), entry("a", b"1")),
    "hard link through link": tar(entry("d/a", b"1"), symlink("l", "d"), hardlink("h", "l/a")),
    "hard link with contents": tar(entry("a", b"1"), entry("h", b"data", kind=b"1", link="a")),
    "set-uid": tar(entry("a", b"1", mode=0o4755)),
    "set-gid": tar(entry("a", b"1", mode=0o2755)),
    "set-gid folder": tar(folder("d", 0o2755)),
    "character device": tar(entry("a", kind=b"3")),
    "block device": tar(entry("a", kind=b"4")),
    "pipe": tar(entry("a", kind=b"6")),
    "contiguous": tar(entry("a", b"1", kind=b"7")),
    "GNU sparse": tar(entry("a", b"1", kind=b"S")),
    "GNU multi-volume": tar(entry("a", b"1", kind=b"M")),
    "unknown type": tar(entry("a", b"1", kind=b"Z")),
    "folder with contents": tar(entry("d/", bytes(512), kind=b"5")),
    "file with a link target": tar(entry("a", b"1", link="/etc/passwd")),
    "wrong checksum": tar(entry("a", b"1", checksum=1)),
    "negative size": tar(entry("a", size=b"\xff" * 12)),
    "size no number": tar(entry("a", size=b"0000000000x\0")),
    "huge size": tar(entry("a", size=b"\x80" + b"\x7f" * 11)),
    "no end": tar(entry("a", b"1"), end=b""),
    "half an end": tar(entry("a", b"1"), end=bytes(BLOCK)),
    "cut in a header": GOOD[:300],
    "cut in the contents": tar(entry("a", bytes(5000)))[:2000],
    "second archive behind": GOOD + GOOD,
    "bytes behind": GOOD + bytes(BLOCK) + b"x",
    "empty": b"",
    "noise": bytes(range(256)) * 8,
    "web page": b"<!DOCTYPE html><html>" + b" " * 2000,
}
_PACKED: dict[str, bytes] = {
    "gzip cut": gzip.compress(GOOD)[:-9],
    "gzip without checksum": gzip.compress(GOOD)[:-8],
    "gzip wrong checksum": _patch(gzip.compress(GOOD), len(gzip.compress(GOOD)) - 8, b"\0\0\0\0"),
    "gzip wrong length": gzip.compress(GOOD)[:-4] + b"\1\0\0\0",
    "gzip bytes behind": gzip.compress(GOOD) + b"behind",
    "gzip zeros behind": gzip.compress(GOOD) + bytes(512),
    "gzip of an archive behind": gzip.compress(GOOD) + gzip.compress(GOOD),
    "bzip2 cut": bz2.compress(GOOD)[:-5],
    "bzip2 bytes behind": bz2.compress(GOOD) + b"behind",
    "xz cut": lzma.compress(GOOD)[:-5],
    "xz bytes behind": lzma.compress(GOOD) + b"behind",
    "xz wrong checksum": _patch(lzma.compress(GOOD), len(lzma.compress(GOOD)) // 2, b"\xa5\x5a"),
    "gzip in gzip": gzip.compress(gzip.compress(GOOD)),
}
_ZIPS: dict[str, bytes] = {
    **{
        f"zip name {label}": _zip((name, b"evil"))
        for label, name in _BAD_NAMES.items()
        if isinstance(name, str)
    },
    "zip twice": _zip(("a", b"1"), ("./a", b"2")),
    "zip link out": _zip(("a", b"../evil"), mode=0o120777),
    "zip link absolute": _zip(("a", b"/etc/passwd"), mode=0o120777),
    "zip link circle": _zip(("a", b"a"), mode=0o120777),
    "zip link huge": _zip(("a", b"x" * 5000), mode=0o120777),
    "zip pipe": _zip(("a", b""), mode=0o010644),
    "zip device": _zip(("a", b""), mode=0o020644),
    "zip set-uid": _zip(("a", b"1"), mode=0o104755),
    "zip comment": ZIP[:-2] + b"\4\0evil",
    "zip bytes behind": ZIP + b"behind",
    "zip bytes before": b"PK\3\4" + ZIP,
    "zip cut": ZIP[:-5],
    "zip no directory": ZIP[:CENTRAL],
    "zip encrypted": _patch(_patch(ZIP, 6, b"\1"), CENTRAL + 8, b"\1"),
    "zip unknown method": _patch(_patch(ZIP, 8, b"\x0c"), CENTRAL + 10, b"\x0c"),
    "zip other local name": _patch(ZIP, 30, b"b"),
    "zip other local size": _patch(ZIP, 22, b"\1"),
    "zip wrong checksum": _patch(_patch(ZIP, 14, b"\0\0\0\0"), CENTRAL + 16, b"\0\0\0\0"),
    "zip understated size": _patch(_patch(ZIP, 22, b"\1\0"), CENTRAL + 24, b"\1\0"),
    "zip damaged data": _patch(ZIP, 33, b"\xff\xff"),
    "zip overlap": _zip_overlap(),
    "zip gap": _gap(),
    "zip inner entry": _patch(TWO, SECOND_LOCAL, b"XX"),
    "zip count too small": _patch(TWO, len(TWO) - 14, b"\1\0\1\0"),
    "zip 64-bit directory missing": _patch(ZIP, len(ZIP) - 14, b"\xff\xff\xff\xff"),
}
HOSTILE: dict[str, bytes] = {**_TAR, **_PACKED, **_ZIPS}
BOMBS: dict[str, Callable[[], bytes]] = {
    "zip bomb": zip_bomb,
    "gzip bomb": gzip_bomb,
    "bzip2 bomb": bz2_bomb,
    "many entries": many_entries,
}

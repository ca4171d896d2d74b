"""A compressed stream as a reader that trusts nothing: bounded steps, checked to its very end."""

from __future__ import annotations

import bz2
import lzma
import queue
import sys
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import BinaryIO, Protocol

from update_all.core.errors import ArchiveError
from update_all.downloads.members import MIB, Limits

INPUT_BYTES = 256 * 1024
OUTPUT_BYTES = 1 * MIB
_XZ_MEMORY = 256 * MIB
_ZSTD_WINDOW = 128 * MIB
_ZSTD_INPUT_BYTES = 256
"""A block of 4 bytes may inflate to 128 KiB (RFC 8878 section 3.1.1.2): 256 bytes at once are 8 MiB."""


_LONGEST_MAGIC = 6
_TRUNCATED = "the archive ends in the middle: truncated"


class _ZstdDecoder(Protocol):
    """What the decoders of both zstd libraries have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def compression_of(head: bytes) -> str:
    """ "gz", "bz2", "xz", "zst", "zip" or "" from the first bytes (the magic numbers of the formats)."""
    for magic, name in (
        (b"\x1f\x8b", "gz"),
        (b"BZh", "bz2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zst"),
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
    ):
        if head.startswith(magic):
            return name
    return ""


class _Counted:
    """The packed file, counting what was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data


def inflated(file: BinaryIO, compression: str, limits: Limits) -> Iterator[bytes]:
    """The blocks of the stream. Ends only after the last checksum; then nothing may follow.

    Several members one after another (as gzip(1), xz(1) allow) are one stream. Raises ArchiveError for a
    truncated or damaged stream, for trailing bytes and for a bomb.
    """
    packed, produced = _Counted(file), 0
    for block in _blocks(packed, compression):
        produced += len(block)
        limits.require_ratio(packed.count, produced)
        if block:
            yield block


def _blocks(packed: _Counted, compression: str) -> Iterator[bytes]:
    if not compression:
        while data := packed.read(INPUT_BYTES):
            yield data
        return
    rest = packed.read(INPUT_BYTES)
    while rest:
        if compression_of(rest) != compression:
            raise ArchiveError("something follows the end of the compressed data")
        try:
            rest = yield from _one_stream(packed, compression, rest)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise ArchiveError(f"the compressed data is damaged: {error}") from None
        if len(rest) < _LONGEST_MAGIC:
            rest += packed.read(INPUT_BYTES)


def _one_stream(packed: _Counted, compression: str, rest: bytes) -> Generator[bytes, None, bytes]:
    match compression:
        case "gz":
            return (yield from _zlib_stream(packed, rest))
        case "bz2":
            return (yield from _bounded_stream(packed, bz2.BZ2Decompressor(), rest))
        case "xz":
            decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            return (yield from _bounded_stream(packed, decoder, rest))
        case "zst":
            return (yield from _zstd_stream(packed, rest))
    raise ArchiveError(f"cannot unpack {compression!r}")


def _zlib_stream(packed: _Counted, data: bytes) -> Generator[bytes, None, bytes]:
    decoder = zlib.decompressobj(wbits=31)
    while not decoder.eof:
        data = decoder.unconsumed_tail or data or packed.read(INPUT_BYTES)
        if not data:
            raise ArchiveError(_TRUNCATED)
        yield decoder.decompress(data, OUTPUT_BYTES)
        data = b""
    return decoder.unused_data


def _bounded_stream(
    packed: _Counted, decoder: bz2.BZ2Decompressor | lzma.LZMADecompressor, data: bytes
) -> Generator[bytes, None, bytes]:
    while not decoder.eof:
        if decoder.needs_input and not data:
            data = packed.read(INPUT_BYTES)
            if not data:
                raise ArchiveError(_TRUNCATED)
        yield decoder.decompress(data, OUTPUT_BYTES)
        data = b""
    return decoder.unused_data


def load_zstd() -> Callable[[], _ZstdDecoder]:
    """The maker of a zstd decoder: of Python 3.14's standard library, else of the package zstandard."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        window = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW.bit_length() - 1}
        return lambda: zstd.ZstdDecompressor(options=window)
    try:
        import zstandard
    except ImportError:
        raise ArchiveError(
            "this Python cannot unpack .zst archives", hint="install the Python package zstandard"
        ) from None
    return lambda: zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()


def _zstd_stream(packed: _Counted, data: bytes) -> Generator[bytes, None, bytes]:
    decoder = load_zstd()()
    while not decoder.eof:
        data = data or packed.read(INPUT_BYTES)
        if not data:
            raise ArchiveError(_TRUNCATED)
        for offset in range(0, len(data), _ZSTD_INPUT_BYTES):
            try:
                yield decoder.decompress(data[offset : offset + _ZSTD_INPUT_BYTES])
            except Exception as error:  # noqa: BLE001 - the two libraries' own errors have no common base
                raise ArchiveError(f"the compressed data is damaged: {error}") from None
            if decoder.eof:
                return decoder.unused_data + data[offset + _ZSTD_INPUT_BYTES :]
        data = b""
    return b""


class Reader:
    """Exact reads from a sequence of blocks, none of them empty."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = memoryview(b"")

    def pieces(self, size: int) -> Iterator[memoryview]:
        """`size` bytes in pieces that are not copied. Raises ArchiveError when there are fewer."""
        while size:
            if not self._block:
                self._block = memoryview(next(self._blocks, b""))
                if not self._block:
                    raise ArchiveError(_TRUNCATED)
            piece = self._block[:size]
            self._block = self._block[len(piece) :]
            size -= len(piece)
            yield piece

    def read(self, size: int) -> bytes:
        if size <= len(self._block):
            piece = bytes(self._block[:size])
            self._block = self._block[size:]
            return piece
        return b"".join(self.pieces(size))

    def rest(self) -> Iterator[memoryview]:
        """All that is left, to the end of the stream and its last checksum."""
        yield self._block
        for block in self._blocks:
            yield memoryview(block)


def in_thread(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same blocks, made by a thread while the caller writes; a few are held ready."""
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=4)

    def produce() -> None:
        try:
            for block in blocks:
                ready.put(block)
            ready.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            ready.put(error)

    threading.Thread(target=produce, daemon=True).start()
    while (item := ready.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item

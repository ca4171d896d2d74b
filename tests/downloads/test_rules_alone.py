"""The hostile archives again, without a child and without a wall: the rules alone refuse them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from update_all.core.errors import ArchiveError
from update_all.downloads.inflate import Reader, compression_of, inflated
from update_all.downloads.members import Kind, Limits, Manifest, Member
from update_all.downloads.tarball import read_tar
from update_all.downloads.zipball import read_zip

sys.path.insert(0, str(Path(__file__).parent))
from hostile import GOOD, HOSTILE, TWO, ZIP


def entries(file: BinaryIO, data: bytes) -> Iterator[tuple[Member, Iterable[bytes | memoryview]]]:
    compression = compression_of(data)
    if compression == "zip":
        yield from read_zip(file, Limits())
    else:
        yield from read_tar(Reader(inflated(file, compression, Limits())))


def accept(data: bytes) -> int:
    """Read and admit every entry as the child does; the number of entries."""
    manifest = Manifest(Limits())
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        for member, pieces in entries(file, data):
            manifest.admit(member)
            if member.kind is Kind.HARDLINK:
                manifest.link_source(member)
            for _ in pieces:
                pass
    manifest.require_links_inside()
    return manifest.entries


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused(name: str) -> None:
    with pytest.raises(ArchiveError):
        accept(HOSTILE[name])


@pytest.mark.parametrize(("data", "number"), [(GOOD, 1), (ZIP, 1), (TWO, 2)])
def test_an_honest_archive_is_not(data: bytes, number: int) -> None:
    assert accept(data) == number

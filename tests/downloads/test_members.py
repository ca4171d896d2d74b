"""The rules for archives, on inputs that nobody thought of."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from update_all.core.errors import ArchiveError
from update_all.downloads.inflate import Reader, compression_of, inflated
from update_all.downloads.members import Kind, Limits, Manifest, Member, path_parts
from update_all.downloads.tarball import read_tar
from update_all.downloads.zipball import read_zip

sys.path.insert(0, str(Path(__file__).parent))
from hostile import TWO, entry, folder, hardlink, long_name, pax, symlink, tar

SAMPLE = tar(
    folder("d/"),
    entry("d/a", b"1" * 700),
    hardlink("h", "d/a"),
    symlink("s", "d/a"),
    pax(path="p"),
    entry("x"),
) + bytes(3000)
LONG = tar(long_name("n" * 120), entry("x", b"2"))

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
names = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
targets = st.lists(st.sampled_from(["..", ".", "", "a", "b", "c"]), min_size=1, max_size=6).map("/".join)


@settings(max_examples=400)
@given(st.dictionaries(names, targets, min_size=1, max_size=6), st.sets(names, max_size=4))
def test_accepted_links_stay_inside_on_a_real_file_system(links: dict[str, str], folders: set[str]) -> None:
    """What the virtual resolution lets through never leads out when the kernel resolves it."""
    manifest = Manifest(Limits())
    try:
        for name in sorted(folders):
            manifest.admit(Member(name, Kind.DIRECTORY))
        for name, target in links.items():
            manifest.admit(Member(name, Kind.SYMLINK, target=target))
        manifest.require_links_inside()
    except ArchiveError:
        return
    with tempfile.TemporaryDirectory() as room:
        root = Path(os.path.realpath(room), "x", "root")
        root.mkdir(parents=True)
        for name in folders:
            (root / name).mkdir(parents=True, exist_ok=True)
        for name, target in links.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(target)
        for name in links:
            assert Path(os.path.realpath(root / name)).is_relative_to(root)


@given(
    st.text(max_size=60) | targets.map(lambda text: f"/{text}") | names.map(lambda text: f"{text}/../../x")
)
def test_accepted_names_stay_inside(name: str) -> None:
    try:
        parts = path_parts(name)
    except ArchiveError:
        return
    assert not {"", ".", ".."} & set(parts)
    assert os.path.normpath("/".join(("root", *parts))).startswith("root")
    assert not [character for character in "".join(parts) if unicodedata.category(character) in HIDDEN]


def read_all(data: bytes, limits: Limits) -> int:
    """Read every entry as the child does, without writing; the number of bytes."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        compression = compression_of(data)
        if compression == "zip":
            return sum(len(piece) for _, pieces in read_zip(file, limits) for piece in pieces)
        reader = Reader(inflated(file, compression, limits))
        return sum(len(piece) for _, pieces in read_tar(reader) for piece in pieces)


SAMPLES: dict[str, bytes] = {
    "tar": SAMPLE,
    "long": LONG,
    "gz": gzip.compress(SAMPLE),
    "bz2": bz2.compress(SAMPLE),
    "xz": lzma.compress(SAMPLE),
    "zip": TWO,
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_are_read(sample: str) -> None:
    assert read_all(SAMPLES[sample], Limits()) in {700, 1, 6}


@pytest.mark.parametrize("sample", SAMPLES)
@settings(max_examples=150)
@given(st.data())
def test_damage_is_only_ever_an_archive_error(sample: str, data: st.DataObject) -> None:
    """Changed, cut or lengthened anywhere: refused or read, never another exception, never much memory."""
    damaged = bytearray(SAMPLES[sample])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))
    try:
        size = read_all(bytes(damaged[:cut]) + data.draw(st.binary(max_size=20)), Limits())
    except ArchiveError:
        return
    assert size <= 64 * 1024


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_every_cut_of_a_packed_archive_is_noticed(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(tar(entry("a", b"contents")))
    for length in range(1, len(packed)):
        with pytest.raises(ArchiveError):
            read_all(packed[:length], Limits())


def test_reader_gives_exactly_what_is_asked() -> None:
    reader = Reader(iter([b"ab", b"cdef"]))
    assert reader.read(3) == b"abc"
    assert b"".join(reader.pieces(2)) == b"de"
    with pytest.raises(ArchiveError, match="truncated"):
        reader.read(2)


def test_streams_one_after_another_are_one() -> None:
    limits, data = Limits(), io.BytesIO(gzip.compress(b"one") + gzip.compress(b"two"))
    assert b"".join(inflated(data, "gz", limits)) == b"onetwo"

"""Unpacking: honest archives come out as they are, hostile ones leave nothing behind."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import os
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from update_all.core.errors import ArchiveError
from update_all.downloads import confine
from update_all.downloads.archives import Extracted, extract
from update_all.downloads.members import Limits

sys.path.insert(0, str(Path(__file__).parent))
from hostile import BOMBS, GOOD, HOSTILE, MIB, entry, folder, hardlink, long_name, pax, symlink, tar


def unpack(
    data: bytes | Path,
    room: Path,
    *,
    top: str = "",
    must_have: tuple[str, ...] = (),
    limits: Limits | None = None,
) -> Extracted:
    room.mkdir(exist_ok=True)
    path = data if isinstance(data, Path) else room.parent / "archive"
    if isinstance(data, bytes):
        path.write_bytes(data)
    target = room / "tree"
    return asyncio.run(extract(path, target, expect_top=top, must_have=must_have, limits=limits))


def listing(root: Path) -> dict[str, tuple[str, bytes | str]]:
    """Every entry below `root` with its permissions and contents."""
    found: dict[str, tuple[str, bytes | str]] = {}
    for path in sorted(root.rglob("*")):
        mode = stat.filemode(path.lstat().st_mode)
        contents = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (mode, contents)
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archive_leaves_nothing(tmp_path: Path, name: str) -> None:
    room = tmp_path / "room"
    with pytest.raises(ArchiveError, match="refused") as caught:
        unpack(HOSTILE[name], room)
    assert caught.value.message.isprintable()
    assert list(room.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "room"]


def test_there_are_enough_hostile_archives() -> None:
    assert len(HOSTILE) + len(BOMBS) >= 65


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_stopped_early(tmp_path: Path, name: str) -> None:
    data = BOMBS[name]()
    with pytest.raises(ArchiveError, match=r"bomb|more than 150000 entries"):
        unpack(data, tmp_path / "room")
    assert list((tmp_path / "room").iterdir()) == []


HONEST = tar(
    folder("top/"),
    entry("top/bin/tool", b"#!/bin/sh\necho hello\n", mode=0o775),
    entry("top/read me", b"text", mode=0o600),
    entry("top/empty", mode=0o400),
    folder("top/locked", 0o500),
    entry("top/locked/file", b"inside", mode=0o666),
    hardlink("top/bin/tool2", "top/bin/tool"),
    symlink("top/current", "bin/tool"),
    symlink("top/bin/up", "../read me"),
    symlink("top/dangling", "nowhere/at/all"),
    symlink("top/again", "current"),
    long_name("top/" + "long/" * 30 + "name"),
    entry("cut", b"long"),
    pax(path="top/ünïcode", mtime="1700000000.5", SCHILY__xattr__user__x="1"),
    entry("x", b"pax"),
)


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["tar", "gz", "bz2", "xz"]
)
def test_honest_archive(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    unpack(pack(HONEST), tmp_path / "room", top="top", must_have=("bin/tool", "current", "again"))
    tree = tmp_path / "room" / "tree"
    found = listing(tree)
    assert found["bin/tool"] == ("-rwxr-xr-x", b"#!/bin/sh\necho hello\n")
    assert found["bin/tool2"] == found["bin/tool"]
    assert found["read me"] == ("-rw-r--r--", b"text")
    assert found["empty"] == ("-rw-r--r--", b"")
    assert found["locked"][0] == "drwxr-xr-x"
    assert found["locked/file"] == ("-rw-r--r--", b"inside")
    assert found["current"] == ("lrwxrwxrwx", "bin/tool")
    assert found["long/" * 30 + "name"] == ("-rw-r--r--", b"long")
    assert found["ünïcode"] == ("-rw-r--r--", b"pax")
    assert {path.lstat().st_uid for path in [tree, *tree.rglob("*")]} == {os.geteuid()}
    assert (tree / "read me").stat().st_mtime == 1_700_000_000
    assert subprocess.run([tree / "again"], capture_output=True, check=True).stdout == b"hello\n"
    assert [path.name for path in (tmp_path / "room").iterdir()] == ["tree"]


def test_zstd(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    packed = zstandard.ZstdCompressor().compress(HONEST)
    unpack(packed, tmp_path / "room", top="top")
    assert (tmp_path / "room" / "tree" / "locked" / "file").read_bytes() == b"inside"
    bomb = zstandard.ZstdCompressor().compress(entry("bomb", size=600 * MIB) + bytes(600 * MIB))
    for number, data in enumerate((packed[:-3], packed + b"behind", packed[:-4] + b"abcd", bomb)):
        with pytest.raises(ArchiveError, match=r"truncated|follows|damaged|bomb"):
            unpack(data, tmp_path / f"room{number}")


def test_archives_of_the_real_tools(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "top" / "deep").mkdir(parents=True)
    for number in range(50):
        (source / "top" / "deep" / f"file {number}").write_bytes(bytes([number]) * number * 997)
    (source / "top" / "link").symlink_to("deep/file 3")
    (source / "top" / "hard").hardlink_to(source / "top" / "deep" / "file 4")
    expected = listing(source / "top")
    paths = []
    for style in ("gnu", "posix", "ustar", "v7"):
        paths.append(tmp_path / f"{style}.tar.gz")
        argv = ["tar", f"--format={style}", "-czf", str(paths[-1]), "-C", str(source), "top"]
        subprocess.run(argv, check=True)
    paths.append(tmp_path / "python.tar.xz")
    with tarfile.open(paths[-1], "w:xz") as archive:
        archive.add(source / "top", "./top")
    for path in paths:
        unpack(path, tmp_path / f"{path.name}-room", top="top")
        assert listing(tmp_path / f"{path.name}-room" / "tree") == expected, path.name


def test_zip_of_the_real_tool(tmp_path: Path) -> None:
    source = {"pkg/": b"", "pkg/a.txt": b"text" * 5000, "pkg/bin/run": b"#!/bin/sh\n", "pkg/ü": b""}
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in source.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100755 if "bin" in name else 0o100644) << 16 if data else 0
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
        with archive.open("pkg/wide", "w", force_zip64=True) as wide:
            wide.write(b"wide" * 1000)
        link = zipfile.ZipInfo("pkg/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "bin/run")
    unpack(path, tmp_path / "room", top="pkg", must_have=("bin/run",))
    found = listing(tmp_path / "room" / "tree")
    assert found["bin/run"] == ("-rwxr-xr-x", b"#!/bin/sh\n")
    assert found["a.txt"][1] == source["pkg/a.txt"]
    assert found["wide"][1] == b"wide" * 1000
    assert found["link"] == ("lrwxrwxrwx", "bin/run")


def test_zip_written_to_a_pipe(tmp_path: Path) -> None:
    """Without seeking, sizes come after the data (data descriptors)."""
    script = "import sys, zipfile\nwith zipfile.ZipFile(sys.stdout.buffer, 'w', 8) as z:\n"
    script += " z.writestr('a', b'a' * 9999)\n z.writestr('b', b'')\n"
    data = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    unpack(data, tmp_path / "room")
    assert (tmp_path / "room" / "tree" / "a").read_bytes() == b"a" * 9999
    spoilt = data.replace(b"PK\7\x08", b"PK\7\x09", 1)
    with pytest.raises(ArchiveError, match="descriptor"):
        unpack(spoilt, tmp_path / "room2")


@pytest.mark.parametrize(
    ("top", "must_have", "message"),
    [
        ("other", (), "expected everything inside 'other'"),
        ("t?p", ("bin/missing",), "expected file 'bin/missing'"),
        ("top", ("bin",), "expected file 'bin'"),
        ("top", ("dangling",), "expected file 'dangling'"),
        ("top", ("../x",), "expected file"),
    ],
)
def test_expectations(tmp_path: Path, top: str, must_have: tuple[str, ...], message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        unpack(HONEST, tmp_path / "room", top=top, must_have=must_have)
    assert list((tmp_path / "room").iterdir()) == []


def test_second_top_folder_is_refused(tmp_path: Path) -> None:
    for more in (entry("other/x"), entry("file"), symlink("top", "x")):
        with pytest.raises(ArchiveError, match=r"expected everything inside|twice"):
            unpack(tar(entry("top/a"), more), tmp_path / "room", top="t*")


def test_limits(tmp_path: Path) -> None:
    data = gzip.compress(tar(entry("a", bytes(20_000)), entry("b", bytes(20_000))))
    for limits in (Limits(entries=1), Limits(total_bytes=39_999), Limits(file_bytes=19_999)):
        with pytest.raises(ArchiveError, match=r"limit|more than"):
            unpack(data, tmp_path / "room", limits=limits)
    assert unpack(data, tmp_path / "room").bytes == 40_000


def test_wall_clock_limit_ends_the_child(tmp_path: Path) -> None:
    fifo = tmp_path / "archive"
    fifo.write_bytes(gzip.compress(tar(*(entry(f"f{n}", bytes(9000)) for n in range(3000)))))
    with pytest.raises(ArchiveError, match="not unpacked within"):
        unpack(fifo, tmp_path / "room", limits=Limits(seconds=0.01))
    assert list((tmp_path / "room").iterdir()) == []


def test_cancelled_extraction_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(gzip.compress(tar(*(entry(f"f{n}", bytes(9000)) for n in range(3000)))))
    (tmp_path / "room").mkdir()

    async def cancel() -> None:
        task = asyncio.create_task(extract(path, tmp_path / "room" / "tree"))
        while not list((tmp_path / "room").glob(".extract-*/tree/*")):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.002)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert list((tmp_path / "room").iterdir()) == []


def test_existing_target_and_missing_archive(tmp_path: Path) -> None:
    unpack(GOOD, tmp_path / "room")
    with pytest.raises(ArchiveError, match="something is there"):
        unpack(GOOD, tmp_path / "room")
    with pytest.raises(ArchiveError, match="cannot open"):
        unpack(tmp_path / "absent", tmp_path / "room2")
    with pytest.raises(ArchiveError, match="not a file"):
        unpack(Path("/dev/null"), tmp_path / "room3")


def test_future_times_are_clamped(tmp_path: Path) -> None:
    unpack(tar(pax(mtime="99999999999"), entry("a", b"1")), tmp_path / "room")
    assert (tmp_path / "room" / "tree" / "a").stat().st_mtime <= time.time()


def test_root_is_given_up(tmp_path: Path) -> None:
    walls = unpack(GOOD, tmp_path / "room").walls
    assert "no_new_privs" in walls
    if os.geteuid() == 0:
        assert any(wall.startswith("uid ") for wall in walls) or "landlock" in walls
    assert ("landlock" in walls) == (confine.landlock_version() > 0)


@pytest.mark.skipif(confine.landlock_version() == 0, reason="this kernel has no Landlock")
def test_landlock_alone_stops_every_way_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "precious").write_text("precious")
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(confine.__file__).parents[2])!r})
from update_all.downloads import confine
place = os.open({str(inside)!r}, os.O_DIRECTORY)
confine.forbid_new_privileges()
assert confine.landlock_to(place)
open({str(inside / "fine")!r}, "w").close()
for attempt in (
    lambda: open({str(outside / "evil")!r}, "w"),
    lambda: open({str(outside / "precious")!r}),
    lambda: os.unlink({str(outside / "precious")!r}),
    lambda: os.rename({str(inside / "fine")!r}, {str(outside / "fine")!r}),
    lambda: os.mkdir({str(outside / "evil")!r}),
    lambda: os.mkfifo({str(inside / "pipe")!r}),
    lambda: os.execv("/bin/sh", ["sh", "-c", "true"]),
):
    try:
        attempt()
    except OSError:
        continue
    sys.exit(1)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert listing(outside) == {"precious": ("-rw-r--r--", b"precious")}

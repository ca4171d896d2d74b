"""Unpack real archives with our extractor and with tar(1) or unzip(1), and compare. Run by hand:

    python tests/lab/real_archives.py FOLDER

FOLDER holds any .tar.*, .tgz, .zip, .whl files, fetched beforehand (`npm pack`, `pip download`). Ends with
exit code 1 when one is refused or comes out differently.
"""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from update_all.core.errors import ArchiveError
from update_all.downloads.archives import extract

ZIPS = (".zip", ".whl")


def contents(root: Path) -> dict[str, str]:
    """Path → kind, execute permission and digest of everything below `root`."""
    found: dict[str, str] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"link {path.readlink()}"
        elif path.is_file():
            runs = bool(path.stat().st_mode & 0o111)
            found[name] = f"file {runs} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return found


def compare(archive: Path, room: Path) -> str:
    """One line for the report; begins with "ok" when both trees are the same."""
    theirs, ours = room / "theirs", room / "ours"
    theirs.mkdir()
    if archive.suffix in ZIPS:
        argv = ["unzip", "-q", str(archive), "-d", str(theirs)]
    else:
        argv = ["tar", "-xf", str(archive), "-C", str(theirs)]
    start = time.perf_counter()
    subprocess.run(argv, check=True)
    middle = time.perf_counter()
    try:
        extracted = asyncio.run(extract(archive, ours))
    except ArchiveError as error:
        return f"REFUSED {error.message}"
    end = time.perf_counter()
    if contents(theirs) != contents(ours):
        different = contents(theirs).items() ^ contents(ours).items()
        return f"DIFFERENT {sorted(name for name, _ in different)[:3]}"
    return f"ok {extracted.entries} entries, {end - middle:.2f} s (the tool: {middle - start:.2f} s)"


def main() -> int:
    failed = False
    for archive in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_file()):
        with tempfile.TemporaryDirectory() as room:
            line = compare(archive, Path(room))
        failed |= not line.startswith("ok")
        print(f"{archive.name}: {line}")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())

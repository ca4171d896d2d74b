"""A small TeX Live in the publisher's layout, with the real tlmgr, and a repository for it.

The tlmgr is that of Debian's texlive-base, led to another tree and without Debian's switch to user mode. The
formats are those of tlpkg/texlive.tlpdb and of the archives beside it.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "downloads"))

SOURCE = Path("/usr/share/texlive")
PLATFORM = "x86_64-linux"
YEAR = "2022"
USERMODE = 'if (!$opts{"usermode"} && $action ne "init-usertree")'
SHIPPED = ("TeXLive", "installer")


def available() -> bool:
    """Whether there is a tlmgr to copy."""
    return (SOURCE / "texmf-dist/scripts/texlive/tlmgr.pl").exists()


def make_tree(root: Path, packages: Mapping[str, int], repository: Path) -> Path:
    """An installation with these packages and revisions; the directory that belongs on PATH."""
    for name in SHIPPED:
        shutil.copytree(SOURCE / "tlpkg" / name, root / "tlpkg" / name)
    scripts = root / "texmf-dist/scripts/texlive"
    scripts.mkdir(parents=True)
    text = (SOURCE / "texmf-dist/scripts/texlive/tlmgr.pl").read_text("utf-8")
    assert USERMODE in text
    text = text.replace(f'"{SOURCE}"', f'"{root}"').replace(USERMODE, "if (0)")
    (scripts / "tlmgr.pl").write_text(text)
    (scripts / "tlmgr.pl").chmod(0o755)
    for name, revision in packages.items():
        for path, contents in files_of(name, revision).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(contents)
    records = [installation(repository), *(record(name, number) for name, number in packages.items())]
    (root / "tlpkg/texlive.tlpdb").write_text("\n".join([configuration(YEAR), *records]))
    for name in ("tlpkg/backups", "texmf-dist/web2c"):
        (root / name).mkdir()
    programs = root / "bin" / PLATFORM
    programs.mkdir(parents=True)
    (programs / "tlmgr").symlink_to(scripts / "tlmgr.pl")
    return programs


def files_of(name: str, revision: int) -> dict[str, str]:
    path = f"tlpkg/{name}.txt" if name.startswith("texlive.infra") else f"texmf-dist/tex/{name}/{name}.sty"
    return {path: f"{name} {revision}\n"}


def configuration(year: str) -> str:
    depends = ["container_format/xz", f"minrelease/{year}", f"release/{year}"]
    lines = ["name 00texlive.config", "category TLCore", "revision 1", *(f"depend {one}" for one in depends)]
    return "\n".join(lines) + "\n"


def installation(repository: Path) -> str:
    options = [f"opt_location:{repository}", "opt_autobackup:1", "opt_backupdir:tlpkg/backups"]
    options += ["opt_create_formats:0", "opt_generate_updmap:0", "opt_post_code:0"]
    options += [f"setting_available_architectures:{PLATFORM}"]
    lines = ["name 00texlive.installation", "category TLCore", "revision 0"]
    return "\n".join([*lines, *(f"depend {one}" for one in options)]) + "\n"


def record(name: str, revision: int, archive: bytes | None = None) -> str:
    """A package as the tree lists it, or, with its archive, as the repository does."""
    lines = [f"name {name}", "category Package", f"revision {revision}", f"shortdesc The {name}"]
    if archive is not None:
        lines += [f"containersize {len(archive)}", f"containerchecksum {hashlib.sha512(archive).hexdigest()}"]
    lines += ["runfiles size=1", *(f" {path}" for path in files_of(name, revision))]
    return "\n".join(lines) + "\n"


def publish(repository: Path, packages: Mapping[str, int], year: str = YEAR) -> None:
    """A repository with these packages and revisions."""
    (repository / "tlpkg").mkdir(parents=True, exist_ok=True)
    (repository / "archive").mkdir(exist_ok=True)
    records = [configuration(year)]
    for name, revision in packages.items():
        archive = container(name, revision)
        (repository / f"archive/{name}.tar.xz").write_bytes(archive)
        records.append(record(name, revision, archive))
    data = "\n".join(records).encode()
    database = repository / "tlpkg/texlive.tlpdb"
    database.write_bytes(data)
    database.with_name("texlive.tlpdb.xz").write_bytes(lzma.compress(data))
    digest = hashlib.sha512(data).hexdigest()
    database.with_name("texlive.tlpdb.sha512").write_text(f"{digest}  texlive.tlpdb\n")


def container(name: str, revision: int) -> bytes:
    contents = {f"tlpkg/tlpobj/{name}.tlpobj": record(name, revision), **files_of(name, revision)}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for path, text in contents.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(text.encode()), 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()

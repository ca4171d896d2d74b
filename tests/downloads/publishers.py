"""Loopback publishers with the formats of the real ones, and archives whose programs really run.

The formats: Go's /dl/?mode=json, GitHub's /repos/OWNER/NAME/releases/latest with asset digests, Waterfox's
.sha512 beside each file, Calibre's /tarball-info/ARCH and /signatures/FILE.sha512.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from publisher import Publisher, Resource

Files = Mapping[str, str | bytes]
"""Path → contents; text becomes an executable file."""


def tarball(files: Files, mode: str = "w:gz") -> bytes:
    """An archive of these files. `mode` as in tarfile.open."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:  # type: ignore[call-overload]
        for name, contents in files.items():
            info = tarfile.TarInfo(name)
            body = contents.encode() if isinstance(contents, str) else contents
            info.size, info.mode = len(body), 0o755 if isinstance(contents, str) else 0o644
            archive.addfile(info, io.BytesIO(body))
    return data.getvalue()


def noise(size: int, seed: str = "noise") -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def go_tree(version: str, *, works: bool = True, padding: int = 0, works_as_current: bool = True) -> Files:
    """A Go tree whose `go` prints what the real one prints."""
    script = f"#!/bin/sh\necho go version go{version} linux/amd64\n"
    if not works:
        script += "echo broken >&2; exit 3\n"
    if not works_as_current:
        script += 'case "$0" in */current/*) exit 4;; esac\n'
    return {"go/bin/go": script, "go/VERSION": f"go{version}\n".encode(), "go/pkg/data": noise(padding)}


def plant(tree: Path, files: Files) -> Path:
    """Put files as a plain directory at `tree`, the first part of their names left out."""
    for name, contents in files.items():
        path = tree / name.partition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
        path.chmod(0o755 if isinstance(contents, str) else 0o644)
    return tree


class GoSite:
    """Publishes Go releases for all the architectures named."""

    def __init__(self, server: Publisher, *architectures: str) -> None:
        self.server = server
        self.architectures = architectures or ("amd64", "arm64", "386", "armv6l", "ppc64le", "s390x")
        self.releases: list[dict[str, object]] = []
        self._announce()

    @property
    def options(self) -> dict[str, str]:
        """What leads the plugin here."""
        return {"feed": self.server.url("/dl/?mode=json"), "mirror": self.server.url("/go")}

    def publish(self, version: str, *, stable: bool = True, data: bytes | None = None) -> Resource:
        """Offer a version; the archive is the same for each architecture."""
        data = tarball(go_tree(version)) if data is None else data
        files = []
        resource = Resource(data)
        for arch in self.architectures:
            filename = f"go{version}.linux-{arch}.tar.gz"
            self.server.resources[f"/go/{filename}"] = resource
            files.append(_go_file(version, filename, "linux", arch, "archive", data))
        files.append(_go_file(version, f"go{version}.src.tar.gz", "", "", "source", b"source"))
        files.append(
            _go_file(version, f"go{version}.darwin-amd64.pkg", "darwin", "amd64", "installer", b"mac")
        )
        self.releases.insert(0, {"version": f"go{version}", "stable": stable, "files": files})
        self._announce()
        return resource

    def withdraw(self) -> None:
        """Take the last release back."""
        del self.releases[0]
        self._announce()

    def _announce(self) -> None:
        feed = self.server.add("/dl/?mode=json", json.dumps(self.releases).encode())
        feed.content_type = "application/json"


def _go_file(version: str, filename: str, os: str, arch: str, kind: str, data: bytes) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    return {
        "filename": filename,
        "os": os,
        "arch": arch,
        "version": f"go{version}",
        "sha256": digest,
        "size": len(data),
        "kind": kind,
    }


class WaterfoxSite:
    """GitHub's API for the version, and a host of its own for archive and checksum."""

    def __init__(self, server: Publisher) -> None:
        self.server = server

    @property
    def options(self) -> dict[str, str]:
        return {"feed": self.server.url("/repos/latest"), "mirror": self.server.url("/waterfox/releases")}

    def publish(
        self, version: str, data: bytes | None = None, *, sha512: str | None = None, digest: str | None = None
    ) -> Resource:
        """Offer a version. `sha512`: what the checksum file says ("" for none); `digest`: GitHub's own."""
        data = tarball(waterfox_tree(version), "w:bz2") if data is None else data
        filename = f"waterfox-{version}.tar.bz2"
        path = f"/waterfox/releases/{version}/Linux_x86_64/{filename}"
        sums = f"{hashlib.sha512(data).hexdigest()}  {filename}\n" if sha512 is None else sha512
        self.server.resources.pop(f"{path}.sha512", None)
        if sums:
            self.server.add(f"{path}.sha512", sums.encode())
        assets = [{"name": filename, "digest": digest, "size": len(data)}] if digest else []
        latest = {"tag_name": version, "draft": False, "prerelease": False, "assets": assets}
        self.server.add("/repos/latest", json.dumps(latest).encode()).content_type = "application/json"
        return self.server.add(path, data)


def waterfox_tree(version: str, *, works: bool = True) -> Files:
    script = f"#!/bin/sh\necho BrowserWorks Waterfox {version}\n" + ("" if works else "exit 3\n")
    return {"waterfox/waterfox": script, "waterfox/application.ini": b"[App]\n", "waterfox/omni.ja": b"\0"}


class CalibreSite:
    """Calibre's own three hosts as one."""

    def __init__(self, server: Publisher) -> None:
        self.server = server

    @property
    def options(self) -> dict[str, str]:
        return {"feed": self.server.url(""), "mirror": self.server.url("/files")}

    def publish(
        self, version: str, data: bytes | None = None, *, sha512: str | None = None, signed: str | None = None
    ) -> Resource:
        """Offer a version. `sha512` and `signed`: what the two documents say of the archive."""
        data = tarball(calibre_tree(version), "w:xz") if data is None else data
        digest = hashlib.sha512(data).hexdigest() if sha512 is None else sha512
        resource = Resource(data)
        for arch in ("x86_64", "arm64"):
            filename = f"calibre-{version}-{arch}.txz"
            self.server.add(f"/tarball-info/{arch}", f"{digest}@{version}".encode())
            self.server.add(f"/signatures/{filename}.sha512", (digest if signed is None else signed).encode())
            self.server.resources[f"/files/{version}/{filename}"] = resource
        return resource


def calibre_tree(version: str, *, works: bool = True) -> Files:
    """Unlike others, the real archive has no folder at its top."""
    script = f'#!/bin/sh\necho "calibre (calibre {version})"\n' + ("" if works else "exit 3\n")
    return {"calibre": script, "calibre-debug": script, "resources/data": b"\0", "lib/lib.so": b"\0"}

"""A tiny sparse crate registry (Cargo Book, "Index format") that replaces the default one."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass

from loopback import Loopback


@dataclass(frozen=True)
class Release:
    data: bytes
    yanked: bool


def crate(name: str, version: str) -> bytes:
    """A crate with one program, which prints the version and whether its feature is on."""
    files = {
        "Cargo.toml": f'[package]\nname = "{name}"\nversion = "{version}"\nedition = "2021"\n'
        "[features]\nfancy = []\n",
        "src/main.rs": 'fn main() { println!("{} {}", env!("CARGO_PKG_VERSION"), cfg!(feature = "fancy")); }',
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


class CrateRegistry:
    """Publish with `publish`; `configuration` is what `config.toml` needs."""

    def __init__(self) -> None:
        self._crates: dict[str, dict[str, Release]] = {}
        self._loopback = Loopback(self._answer)
        self.requests = self._loopback.requests
        self.stop = self._loopback.stop
        self.stalled = self._loopback.stalled

    @property
    def configuration(self) -> str:
        return (
            '[source.crates-io]\nreplace-with = "lab"\n'
            f'[source.lab]\nregistry = "sparse+{self._loopback.url}/index/"\n'
        )

    def publish(self, name: str, version: str, *, yanked: bool = False) -> None:
        self._crates.setdefault(name, {})[version] = Release(crate(name, version), yanked)

    def stall(self, ending: str) -> None:
        """Let the next request whose path ends so wait."""
        self._loopback.stalling = ending

    def _answer(self, path: str) -> bytes | None:
        if path == "/index/config.json":
            return json.dumps({"dl": f"{self._loopback.url}/dl"}).encode()
        kind, *rest = path.strip("/").split("/")
        if kind == "dl" and len(rest) == 3:
            release = self._crates.get(rest[0], {}).get(rest[1])
            return release.data if release else None
        releases = self._crates.get(rest[-1]) if kind == "index" and rest else None
        if releases is None:
            return None
        return "\n".join(self._line(rest[-1], *item) for item in releases.items()).encode()

    def _line(self, name: str, version: str, release: Release) -> str:
        return json.dumps(
            {
                "name": name,
                "vers": version,
                "deps": [],
                "cksum": hashlib.sha256(release.data).hexdigest(),
                "features": {"fancy": []},
                "yanked": release.yanked,
            }
        )

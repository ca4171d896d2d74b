"""rustup: a distribution server on loopback with one channel of one component.

The manifests have the form of rust-lang/rust's build-manifest, manifest-version 2.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

HOST = "x86_64-unknown-linux-gnu"


class Rustup(Recipe):
    plugin = "rustup"
    programs = ("rustup",)
    quick = True

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "served"))

    def version(self) -> str:
        return self.room.run("rustup", "--version").split()[1]

    def prepare(self) -> None:
        program = shutil.which("rustup")
        assert program is not None
        self.room.environment |= {
            "RUSTUP_DIST_SERVER": self.server.url,
            "RUSTUP_UPDATE_ROOT": f"{self.server.url}/rustup",
            "PATH": f"{self.room.home}/.cargo/bin:{self.room.environment['PATH']}",
        }
        place = self.room.home / ".cargo/bin"
        place.mkdir(parents=True)
        shutil.copy(program, place / "rustup")
        self._publish_rustup()
        self._publish("1.0.0", "2026-01-01")
        self.room.run("rustup", "set", "profile", "minimal")
        self.room.run("rustup", "toolchain", "install", "stable", "--no-self-update")

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self._publish("1.1.0", "2026-02-02")
        if pausing:
            self.server.stalling = "rustc-1.1.0"
        return frozenset({Change(f"stable-{HOST}", "1.0.0", "1.1.0")})

    @property
    def interrupted(self) -> bool:
        return self.server.stalled.is_set()

    def installed(self) -> Mapping[str, str]:
        return {f"stable-{HOST}": self.room.run("rustup", "run", "stable", "rustc", "--version").split()[1]}

    def cut(self) -> None:
        self.server.stop()

    def complaint(self) -> str:
        return self.room.finding("rustup", "component", "list", "--toolchain", "stable")

    def _publish_rustup(self) -> None:
        version = self.version()
        place = self.server.folder / "rustup"
        place.mkdir()
        (place / "release-stable.toml").write_text(f"schema-version = '1'\nversion = '{version}'\n")

    def _publish(self, version: str, date: str) -> None:
        folder = self.server.folder / "dist" / date
        folder.mkdir(parents=True)
        archive = self._component(folder, version)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        target = (
            f'available = true\nurl = "{self.server.url}/dist/{date}/{archive.name}"\nhash = "{digest}"\n'
            f'xz_url = "{self.server.url}/dist/{date}/{archive.name}"\nxz_hash = "{digest}"\n'
        )
        described = f'version = "{version} (0123456789 {date})"\n'
        manifest = (
            f'manifest-version = "2"\ndate = "{date}"\n[pkg.rust]\n{described}'
            f"[pkg.rust.target.{HOST}]\n{target}"
            f'[[pkg.rust.target.{HOST}.components]]\npkg = "rustc"\ntarget = "{HOST}"\n'
            f"[pkg.rustc]\n{described}[pkg.rustc.target.{HOST}]\n{target}"
            '[profiles]\nminimal = ["rustc"]\ndefault = ["rustc"]\ncomplete = ["rustc"]\n'
        )
        for path in (self.server.folder / "dist", folder):
            file = path / "channel-rust-stable.toml"
            file.write_text(manifest)
            digest = hashlib.sha256(manifest.encode()).hexdigest()
            (path / f"{file.name}.sha256").write_text(f"{digest}  {file.name}\n")
        self.server.touch()

    def _component(self, folder: Path, version: str) -> Path:
        """An archive in the form of rust-installer, version 3."""
        name = f"rustc-{version}-{HOST}"
        tree = self.room.folder / name
        program = tree / "rustc/bin/rustc"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho rustc {version} '(0123456789 2026-01-01)'\n")
        program.chmod(0o755)
        (tree / "components").write_text("rustc\n")
        (tree / "rust-installer-version").write_text("3\n")
        (tree / "version").write_text(f"{version}\n")
        (tree / "rustc/manifest.in").write_text("file:bin/rustc\n")
        file = folder / f"{name}.tar.xz"
        with tarfile.open(file, "w:xz") as archive:
            archive.add(tree, name)
        return file

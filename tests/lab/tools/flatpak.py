"""flatpak: a runtime and an application by flatpak-build-export(1), served on loopback."""

from __future__ import annotations

from collections.abc import Mapping

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

APPLICATION = "org.example.UaLab"
RUNTIME = "org.example.UaLabPlatform"


class Flatpak(Recipe):
    plugin = "flatpak"
    programs = ("flatpak", "ostree")
    quick = True

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "repository"))

    def version(self) -> str:
        return self.room.run("flatpak", "--version").split()[1]

    def prepare(self) -> None:
        arch = self.room.run("flatpak", "--default-arch").strip()
        self.reference = f"{APPLICATION}/{arch}/stable"
        self._export(RUNTIME, "1", "runtime", f"[Runtime]\nname={RUNTIME}\n", "1")
        self._publish("1")
        remote = ("remote-add", "--user", "--no-gpg-verify", "lab", self.server.url)
        self.room.run("flatpak", *remote)
        self.room.run("flatpak", "install", "--user", "--noninteractive", "lab", APPLICATION)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        old = self.installed()[self.reference]
        self._publish("2")
        if pausing:
            self.server.stalling = ".filez"
        branch = f"app/{self.reference}"
        new = self.room.run("ostree", "rev-parse", f"--repo={self.server.folder}", branch)
        return frozenset({Change(self.reference, old, new.strip()[: len(old)])})

    @property
    def interrupted(self) -> bool:
        return self.server.stalled.is_set()

    def installed(self) -> Mapping[str, str]:
        lines = self.room.run("flatpak", "list", "--columns=ref,active").splitlines()
        return dict(line.split("\t") for line in lines if "\t" in line)

    def cut(self) -> None:
        self.server.stop()

    def complaint(self) -> str:
        return self.room.finding("flatpak", "repair", "--user", "--dry-run")

    def _publish(self, version: str) -> None:
        runtime = f"{RUNTIME}/{self.reference.split('/')[1]}/1"
        metadata = f"[Application]\nname={APPLICATION}\nruntime={runtime}\nsdk={runtime}\ncommand=hello\n"
        self._export(APPLICATION, "stable", "app", metadata, version)

    def _export(self, name: str, branch: str, kind: str, metadata: str, version: str) -> None:
        tree = self.room.folder / f"{name}-{version}"
        files = tree / ("files" if kind == "app" else "usr")
        (files / "bin").mkdir(parents=True)
        (tree / "files").mkdir(exist_ok=True)
        (tree / "export").mkdir()
        (files / "bin/hello").write_text(f"#!/bin/sh\necho {version}\n")
        (tree / "metadata").write_text(metadata)
        options = ["--runtime"] if kind == "runtime" else []
        self.room.run("flatpak", "build-export", *options, self.server.folder, tree, branch)

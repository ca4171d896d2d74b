"""opam: a repository on loopback (opam manual, "Repositories") and a switch without a compiler."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

PACKAGE = "ua-lab-opam"


class Opam(Recipe):
    plugin = "opam"
    programs = ("opam", "curl")

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "served"))

    def version(self) -> str:
        return self.room.run("opam", "--version").strip()

    def prepare(self) -> None:
        self.room.environment |= {"OPAMROOTISOK": "1", "OPAMROOT": f"{self.room.home}/.opam"}
        (self.server.folder / "repo").write_text('opam-version: "2.0"\n')
        self._publish("1.0", "")
        self.room.run(
            "opam", "init", "--bare", "--no-setup", "--disable-sandboxing", "--yes", self.server.url
        )
        self.room.run("opam", "switch", "create", "lab", "--empty", "--yes")
        self.room.run("opam", "install", "--yes", PACKAGE)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self._publish("2.0", self.pause if pausing else "")
        # As a timer would; before it, nobody can know.
        self.room.run("opam", "update", "--yes")
        return frozenset({Change(PACKAGE, "1.0", "2.0")})

    def installed(self) -> Mapping[str, str]:
        lines = self.room.run("opam", "list", "--installed", "--short", "--columns=name,version").splitlines()
        return dict(line.split() for line in lines if line.strip())

    def cut(self) -> None:
        self.server.stop()
        # Fresh lists are an answer; these are not.
        for path in (self.room.home / ".opam/repo", *(self.room.home / ".opam/repo").rglob("*")):
            os.utime(path, (0, 0))

    def complaint(self) -> str:
        file = self.room.home / f".opam/lab/share/{PACKAGE}"
        here = self.installed().get(PACKAGE, "not installed")
        there = file.read_text().strip() if file.exists() else "no file"
        return "" if here == there else f"opam has {here}, the file says {there}"

    def _publish(self, version: str, script: str) -> None:
        folder = self.server.folder / f"packages/{PACKAGE}/{PACKAGE}.{version}"
        folder.mkdir(parents=True)
        build = f'build: ["sh" "-c" "{script}"]\n' if script else ""
        (folder / "opam").write_text(
            'opam-version: "2.0"\nmaintainer: "lab@example.invalid"\nsynopsis: "of the lab"\n'
            + build
            + f'install: ["sh" "-c" "mkdir -p \\"$1\\"; echo {version} > \\"$1/{PACKAGE}\\"" "sh" share]\n'
        )
        # The index that an HTTP repository is fetched as.
        with tarfile.open(self.server.folder / "index.tar.gz", "w:gz") as archive:
            for name in ("repo", "packages"):
                archive.add(self.server.folder / name, name)
        self.server.touch()

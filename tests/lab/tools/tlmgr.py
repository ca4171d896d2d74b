"""tlmgr: a small TeX Live in the publisher's layout, and its repository on loopback."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins"))
import tlnet

PACKAGE = "ua-lab-tex"
TREES = ("TEXMFSYSVAR", "TEXMFSYSCONFIG", "TEXMFVAR", "TEXMFCONFIG", "TEXMFHOME", "TEXMFLOCAL")


class Tlmgr(Recipe):
    plugin = "texlive-packages"
    programs = ("kpsewhich", "xz")

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "tlnet"))
        self.tree = room.home / "texlive"

    @classmethod
    def missing(cls) -> str:
        return super().missing() or ("" if tlnet.available() else "needs Debian's texlive-base")

    def version(self) -> str:
        return self.room.run("tlmgr", "--version").split()[2]

    def prepare(self) -> None:
        self._publish(1)
        packages = {"texlive.infra": 1, PACKAGE: 1}
        programs = tlnet.make_tree(self.tree, packages, self.server.folder)
        self.room.environment |= {name: str(self.room.home / name.lower()) for name in TREES}
        self.room.environment["TEXMFDIST"] = str(self.tree / "texmf-dist")
        self.room.environment["PATH"] = f"{programs}:{self.room.environment['PATH']}"
        self.room.write(self.room.home / "texmfsysconfig/tlmgr/config", "verify-repo = none\n")
        (self.tree / "tlpkg/tlpobj").mkdir()
        self.room.run("tlmgr", "option", "repository", self.server.url)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self._publish(2)
        if pausing:
            self.server.stalling = f"{PACKAGE}.tar.xz"
        return frozenset({Change(PACKAGE, "1", "2")})

    @property
    def interrupted(self) -> bool:
        return self.server.stalled.is_set()

    def installed(self) -> Mapping[str, str]:
        file = self.tree / "texmf-dist/tex" / PACKAGE / f"{PACKAGE}.sty"
        return {PACKAGE: file.read_text().split()[-1] if file.exists() else "no file"}

    def cut(self) -> None:
        self.server.stop()

    def complaint(self) -> str:
        listed = self.room.run("tlmgr", "info", "--only-installed", "--data", "name")
        lost = "" if PACKAGE in listed.split() else f"{PACKAGE} is not installed"
        # The copy of tlmgr itself belongs to no package, and is told as well.
        files = self.room.finding("tlmgr", "check", "files")
        return lost or (files if PACKAGE in files else "")

    def _publish(self, revision: int) -> None:
        tlnet.publish(self.server.folder, {"texlive.infra": 1, PACKAGE: revision})
        self.server.touch()

"""pacman: packages by makepkg's layout, a repository on loopback by repo-add(8)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

PACKAGE = "ua-lab-pac"


class Pacman(Recipe):
    plugin = "pacman"
    programs = ("pacman", "repo-add", "bsdtar")
    quick = True

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "repository"))

    def version(self) -> str:
        return self.room.run("pacman", "--version").partition("Pacman v")[2].split()[0]

    def prepare(self) -> None:
        for place in ("/var/lib/pacman/sync", "/var/lib/pacman/local", "/var/cache/pacman/pkg"):
            self.room.inside(place).mkdir(parents=True, exist_ok=True)
        self.room.write(
            "/etc/pacman.conf",
            f"[options]\nArchitecture = auto\nSigLevel = Never\n[lab]\nServer = {self.server.url}\n",
        )
        self.publish("1.0-1", "")
        self.room.run("pacman", "--sync", "--refresh", "--noconfirm", PACKAGE)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self.publish("2.0-1", f"post_upgrade() {{ {self.pause}; }}\n" if pausing else "")
        # As a timer of the distribution does; before it, nobody can know.
        self.room.run("pacman", "--sync", "--refresh")
        return frozenset({Change(PACKAGE, "1.0-1", "2.0-1")})

    def installed(self) -> Mapping[str, str]:
        return dict(line.split(" ", 1) for line in self.room.run("pacman", "--query").splitlines())

    def cut(self) -> None:
        self.server.stop()
        # Fresh lists are an answer; these are not.
        for path in self.room.inside("/var/lib/pacman/sync").iterdir():
            os.utime(path, (0, 0))

    def complaint(self) -> str:
        files = self.room.finding("pacman", "--query", "--check", "--check", "--quiet")
        lock = self.room.inside("/var/lib/pacman/db.lck")
        return (
            files
            or self.room.finding("pacman", "--database", "--check")
            or ("locked by db.lck" if lock.exists() else "")
        )

    def publish(self, version: str, script: str) -> None:
        """Publish a version; what lies in its tree already is part of it."""
        tree = self.room.folder / f"pacman-{version}"
        (tree / "usr/share").mkdir(parents=True, exist_ok=True)
        (tree / "usr/share" / PACKAGE).write_text(version)
        (tree / ".PKGINFO").write_text(
            f"pkgname = {PACKAGE}\npkgbase = {PACKAGE}\npkgver = {version}\npkgdesc = of the lab\n"
            "url = \nbuilddate = 1\npackager = lab\nsize = 1\narch = any\n"
        )
        if script:
            (tree / ".INSTALL").write_text(script)
        file = self.server.folder / f"{PACKAGE}-{version}-any.pkg.tar.gz"
        names = [name for name in (".PKGINFO", ".INSTALL", "usr") if (tree / name).exists()]
        self.room.run("bsdtar", "-czf", file, "-C", tree, *names)
        self.room.run("repo-add", "--quiet", self.server.folder / "lab.db.tar.gz", file)
        self.server.touch()

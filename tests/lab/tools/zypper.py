"""zypper: the packages of dnf's recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping

from files_server import FilesServer
from recipe import Recipe
from room import Room

from tools.dnf import PACKAGE, build_rpm, rpm_versions, use_database
from update_all.core.models import Change


class Zypper(Recipe):
    plugin = "zypper"
    programs = ("zypper", "rpm", "rpmbuild", "createrepo_c")

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "repository"))

    def version(self) -> str:
        return self.room.run("zypper", "--version").split()[1]

    def prepare(self) -> None:
        self.room.write("/etc/os-release", 'ID="opensuse-leap"\nVERSION_ID="15.6"\n')
        use_database(self.room)
        build_rpm(self.room, self.server, "1.0", "")
        self.room.run("zypper", "addrepo", "--no-gpgcheck", "--refresh", self.server.url, "lab")
        self.room.run("zypper", "--non-interactive", "--no-gpg-checks", "install", PACKAGE)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        build_rpm(self.room, self.server, "2.0", self.pause if pausing else "")
        # As a timer of the distribution does; before it, nobody can know.
        self.room.run("zypper", "--non-interactive", "refresh")
        return frozenset({Change(PACKAGE, "1.0-1", "2.0-1")})

    def installed(self) -> Mapping[str, str]:
        return {item.removesuffix(".noarch"): version for item, version in rpm_versions(self.room).items()}

    def cut(self) -> None:
        self.server.stop()
        # Fresh lists are an answer; these are not.
        for path in self.room.inside("/var/cache/zypp").rglob("*"):
            os.utime(path, (0, 0), follow_symlinks=False)

    def complaint(self) -> str:
        twice = [f"{item} {version}" for item, version in self.installed().items() if " and " in version]
        return self.room.finding("zypper", "--non-interactive", "verify", "--dry-run") or ", ".join(twice)

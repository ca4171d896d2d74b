"""dnf: packages by rpmbuild(8), a repository on loopback by createrepo_c(8)."""

from __future__ import annotations

from collections.abc import Mapping

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

PACKAGE = "ua-lab-rpm"


def use_database(room: Room) -> None:
    """Let rpm look where dnf and zypper do: Debian's looks below the home directory."""
    room.write(room.home / ".rpmmacros", "%_dbpath /var/lib/rpm\n")


def build_rpm(room: Room, server: FilesServer, version: str, script: str) -> None:
    """Build a package whose `script` runs after its installation, and index the repository anew."""
    spec = room.folder / f"{PACKAGE}-{version}.spec"
    spec.write_text(
        f"Name: {PACKAGE}\nVersion: {version}\nRelease: 1\nSummary: of the lab\n"
        "License: MIT\nBuildArch: noarch\n"
        # No package of the lab's repository has a shell for the script.
        "Provides: /bin/sh\n"
        "%description\nof the lab\n"
        f"%install\nmkdir -p %{{buildroot}}/usr/share\necho {version} > %{{buildroot}}/usr/share/{PACKAGE}\n"
        + (f"%post\n{script}\n" if script else "")
        + f"%files\n/usr/share/{PACKAGE}\n"
    )
    room.run("rpmbuild", "-bb", "--define", f"_topdir {room.folder}/rpmbuild", spec)
    for file in (room.folder / "rpmbuild/RPMS/noarch").glob(f"{PACKAGE}-{version}-*.rpm"):
        (server.folder / file.name).write_bytes(file.read_bytes())
    room.run("createrepo_c", "--quiet", "--update", server.folder)
    server.touch()


def rpm_versions(room: Room) -> dict[str, str]:
    """What rpm says is installed; versions that are there twice are joined."""
    lines = room.run("rpm", "-qa", "--queryformat", "%{NAME}.%{ARCH} %{EVR}\n").splitlines()
    found: dict[str, str] = {}
    for item, version in (line.split(" ") for line in sorted(lines)):
        found[item] = f"{found[item]} and {version}" if item in found else version
    return found


class Dnf(Recipe):
    plugin = "dnf"
    programs = ("dnf", "rpm", "rpmbuild", "createrepo_c")

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "repository"))

    def version(self) -> str:
        return self.room.run("dnf", "--version").split()[0]

    def prepare(self) -> None:
        self.room.write(
            "/etc/yum.repos.d/lab.repo", f"[lab]\nname=lab\nbaseurl={self.server.url}\ngpgcheck=0\n"
        )
        use_database(self.room)
        build_rpm(self.room, self.server, "1.0", "")
        self.room.run("dnf", "-y", "--releasever=1", "install", PACKAGE)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        build_rpm(self.room, self.server, "2.0", self.pause if pausing else "")
        return frozenset({Change(f"{PACKAGE}.noarch", "1.0-1", "2.0-1")})

    def installed(self) -> Mapping[str, str]:
        return rpm_versions(self.room)

    def cut(self) -> None:
        self.server.stop()

    def complaint(self) -> str:
        return self.room.finding("dnf", "check")

"""apt: the private Debian root of the other apt tests."""

from __future__ import annotations

from collections.abc import Mapping

from apt_root import AptRoot
from recipe import Recipe
from room import UPDATE_ALL, Room

from update_all.core.models import Change

PACKAGE = "ua-lab-deb"


class Apt(Recipe):
    plugin = "apt"
    programs = ("apt-get", "dpkg-deb")

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.root = self.open(AptRoot(room.folder / "apt", room.home))
        self.mark = self.root.root / "tmp/interrupt-now"

    def version(self) -> str:
        return self.room.run("apt-get", "--version").split()[1]

    def prepare(self) -> None:
        self.room.environment |= self.root.environment
        self.root.publish(PACKAGE, "1.0")
        self.root.start()
        self.room.run("apt-get", "-qq", "update")
        self.room.run("apt-get", "-qq", "-y", "install", PACKAGE)
        # Only a refresh of its own is a proof that nothing is new.
        self.room.run(*UPDATE_ALL, "run", "--yes", self.plugin)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        # The script runs in the root.
        pause = self.pause.replace(str(self.root.root), "")
        self.root.publish(PACKAGE, "2.0", postinst=pause if pausing else "")
        self.room.run("apt-get", "-qq", "update")
        return frozenset({Change(PACKAGE, "1.0", "2.0")})

    def installed(self) -> Mapping[str, str]:
        lines = self.room.run("dpkg-query", "--show", "--showformat=${Package} ${Version}\n").splitlines()
        return dict(line.split(" ") for line in lines)

    def cut(self) -> None:
        self.root.stop()
        self.root.age_lists()

    def complaint(self) -> str:
        return self.room.run("dpkg", "--audit") or self.room.finding("apt-get", "check")

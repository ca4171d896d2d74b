"""gem: a source on loopback by gem_generate_index of RubyGems (`gem generate_index`)."""

from __future__ import annotations

from collections.abc import Mapping

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

PACKAGE = "ua-lab-gem"


class Gem(Recipe):
    plugin = "gem"
    programs = ("gem", "ruby")

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "repository"))

    def version(self) -> str:
        return self.room.run("gem", "--version").strip()

    def prepare(self) -> None:
        self.room.environment["GEM_HOME"] = f"{self.room.home}/.gem"
        self.room.write(self.room.home / ".gemrc", f"---\n:sources:\n- {self.server.url}/\n")
        self._publish("1.0.0")
        self.room.run("gem", "install", "--no-document", PACKAGE)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self._publish("2.0.0")
        if pausing:
            self.server.stalling = f"{PACKAGE}-2.0.0.gem"
        return frozenset({Change(PACKAGE, "1.0.0", "2.0.0")})

    @property
    def interrupted(self) -> bool:
        return self.server.stalled.is_set()

    def installed(self) -> Mapping[str, str]:
        listed = self.room.run("gem", "list", "--local", f"^{PACKAGE}$")
        versions = listed.partition("(")[2].partition(")")[0]
        return {PACKAGE: versions.split(",")[0]}

    def cut(self) -> None:
        self.server.stop()

    def complaint(self) -> str:
        output = self.room.run("gem", "check", PACKAGE, codes=(0, 1))
        return output.partition("Checking gems...")[2].strip()

    def _publish(self, version: str) -> None:
        gems = self.server.folder / "gems"
        gems.mkdir(exist_ok=True)
        source = self.room.folder / f"gem-{version}"
        (source / "lib").mkdir(parents=True)
        (source / f"lib/{PACKAGE}.rb").write_text(f"puts '{version}'\n")
        (source / "lab.gemspec").write_text(
            f"Gem::Specification.new {{ |s| s.name = '{PACKAGE}'; s.version = '{version}'\n"
            f"s.summary = 'of the lab'; s.authors = ['lab']; s.files = ['lib/{PACKAGE}.rb'] }}\n"
        )
        self.room.run(
            "sh", "-c", 'cd "$1" && gem build --silent --force lab.gemspec --output "$2"', "sh",
            source, gems / f"{PACKAGE}-{version}.gem",
        )  # fmt: skip
        self.room.run("gem", "generate_index", "--silent", "--directory", self.server.folder)
        self.server.touch()

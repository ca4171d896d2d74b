"""luarocks: a server of rocks on loopback by luarocks-admin(1)."""

from __future__ import annotations

from collections.abc import Mapping

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

PACKAGE = "ua-lab-rock"


class Luarocks(Recipe):
    plugin = "luarocks"
    programs = ("luarocks", "luarocks-admin", "zip", "unzip")

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "repository"))

    def version(self) -> str:
        return self.room.run("luarocks", "--version").split()[1]

    def prepare(self) -> None:
        self.room.write(
            self.room.home / ".luarocks/config-5.1.lua", f'rocks_servers = {{ "{self.server.url}" }}\n'
        )
        self.room.environment["LUAROCKS_CONFIG"] = f"{self.room.home}/.luarocks/config-5.1.lua"
        self._publish("1.0-1", "")
        self.room.run("luarocks", "--tree", self.room.home / ".luarocks", "install", PACKAGE)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self._publish("2.0-1", self.pause if pausing else "")
        return frozenset({Change(PACKAGE, "1.0-1", "2.0-1")})

    def installed(self) -> Mapping[str, str]:
        listed = self.room.run("luarocks", "--tree", self.room.home / ".luarocks", "list", "--porcelain")
        return {line.split("\t")[0]: line.split("\t")[1] for line in listed.splitlines()}

    def cut(self) -> None:
        self.server.stop()

    def complaint(self) -> str:
        return self.room.finding("luarocks", "--tree", self.room.home / ".luarocks", "show", PACKAGE)

    def _publish(self, version: str, script: str) -> None:
        source = self.room.folder / f"{PACKAGE}-{version}"
        source.mkdir()
        (source / "module.lua").write_text(f"return '{version}'\n")
        self.room.run("sh", "-c", 'cd "$1" && zip -q -r "$2" "$3"', "sh",
                      self.room.folder, self.server.folder / f"{source.name}.zip", source.name)  # fmt: skip
        (self.server.folder / f"{PACKAGE}-{version}.rockspec").write_text(
            f'package = "{PACKAGE}"\nversion = "{version}"\n'
            f'source = {{ url = "{self.server.url}/{source.name}.zip", dir = "{source.name}" }}\n'
            'description = { summary = "of the lab" }\n'
            f'build = {{ type = "command", build_command = [=[{script or "true"}]=],\n'
            'install = { lua = { ua_lab_rock = "module.lua" } } }\n'
        )
        self.room.run("luarocks-admin", "make-manifest", self.server.folder)
        self.server.touch()

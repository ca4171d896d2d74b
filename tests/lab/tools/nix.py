"""nix: a channel on loopback, nixexprs.tar.xz, with derivations that need nothing but a shell."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

PACKAGE = "ua-lab-nix"


class Nix(Recipe):
    plugin = "nix"
    programs = ("nix-env", "nix-channel")
    tells_updates = False

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "served"))

    def version(self) -> str:
        return self.room.run("nix-env", "--version").split()[-1]

    def prepare(self) -> None:
        nix = self.room.home / "nix"
        self.room.environment |= {
            "NIX_STORE_DIR": f"{nix}/store",
            "NIX_STATE_DIR": f"{nix}/var",
            "NIX_LOG_DIR": f"{nix}/log",
            "NIX_CONF_DIR": f"{nix}/etc",
            "NIX_PATH": "",
        }
        self.room.write(
            nix / "etc/nix.conf", "sandbox = false\nbuild-users-group =\nsubstituters =\ntarball-ttl = 0\n"
        )
        self._publish("1.0", "")
        self.room.run("nix-channel", "--add", f"{self.server.url}/channel", "lab")
        self.room.run("nix-channel", "--update")
        self.room.run("nix-env", "--install", "--attr", f"lab.{PACKAGE}")

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self._publish("2.0", self.pause if pausing else "")
        return frozenset({Change(PACKAGE, "1.0", "2.0")})

    def installed(self) -> Mapping[str, str]:
        lines = self.room.run("nix-env", "--query").splitlines()
        return {line.rpartition("-")[0]: line.rpartition("-")[2] for line in lines}

    def cut(self) -> None:
        self.server.stop()

    def complaint(self) -> str:
        return self.room.finding("nix-store", "--verify", "--check-contents")

    def _publish(self, version: str, script: str) -> None:
        tree = self.room.folder / f"nix-{version}"
        tree.mkdir()
        build = f"{script or 'true'}; mkdir $out; echo {version} > $out/version"
        (tree / "default.nix").write_text(
            f"{{ ... }}: {{ {PACKAGE} = derivation {{\n"
            f'  name = "{PACKAGE}-{version}"; pname = "{PACKAGE}"; version = "{version}";\n'
            '  system = builtins.currentSystem; builder = "/bin/sh"; PATH = "/usr/bin:/bin";\n'
            f"  args = [ \"-c\" ''{build}'' ];\n}}; }}\n"
        )
        place = self.server.folder / "channel"
        place.mkdir(exist_ok=True)
        with tarfile.open(place / "nixexprs.tar.xz", "w:xz") as archive:
            archive.add(tree, "lab")
        self.server.touch()

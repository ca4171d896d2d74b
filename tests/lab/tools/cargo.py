"""cargo: a sparse registry on loopback that stands for the default one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from recipe import Recipe
from registry_crates import CrateRegistry
from room import Room

from update_all.core.models import Change

PACKAGE = "ua-lab-crate"


def toolchain() -> Path | None:
    """Where the toolchain's own programs are: rustup's proxies would look for one in the room's home."""
    if shutil.which("rustc") is None:
        return None
    asked = subprocess.run(["rustc", "--print=sysroot"], capture_output=True, text=True, check=False)
    return Path(asked.stdout.strip()) / "bin" if asked.returncode == 0 else None


class Cargo(Recipe):
    plugin = "cargo"
    programs = ("cargo",)
    quick = True
    place = toolchain()

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.registry = self.open(CrateRegistry())

    @classmethod
    def missing(cls) -> str:
        return "" if cls.place is not None else "needs cargo and rustc"

    def version(self) -> str:
        return self.room.run("cargo", "--version").split()[1]

    def prepare(self) -> None:
        assert self.place is not None
        self.room.environment["PATH"] = f"{self.place}:{self.room.environment['PATH']}"
        self.room.write(self.room.home / ".cargo/config.toml", self.registry.configuration)
        self.registry.publish(PACKAGE, "1.0.0")
        self.room.run("cargo", "install", PACKAGE)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self.registry.publish(PACKAGE, "2.0.0")
        if pausing:
            self.registry.stall(f"/dl/{PACKAGE}/2.0.0/download")
        return frozenset({Change(PACKAGE, "1.0.0", "2.0.0")})

    @property
    def interrupted(self) -> bool:
        return self.registry.stalled.is_set()

    def installed(self) -> Mapping[str, str]:
        return {PACKAGE: self.room.run(self.room.home / ".cargo/bin" / PACKAGE).split()[0]}

    def cut(self) -> None:
        self.registry.stop()

    def complaint(self) -> str:
        listed = self.room.run("cargo", "install", "--list")
        return "" if f"{PACKAGE} v{self.installed()[PACKAGE]}:" in listed else listed

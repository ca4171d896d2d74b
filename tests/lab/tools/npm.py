"""npm, and what its siblings need: a registry on loopback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from recipe import Recipe
from registry_npm import NpmRegistry
from room import Room

from update_all.core.models import Change

PACKAGE = "ua-lab-js"


class Registered(Recipe):
    """A tool that installs from the npm registry. The interruption is a request that is not answered."""

    new: ClassVar[str] = "2.0.0"

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.registry = self.open(NpmRegistry())

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self.registry.publish(PACKAGE, self.new)
        if pausing:
            self.registry.stall(f"/-/{self.new}.tgz")
        return frozenset({Change(PACKAGE, "1.0.0", self.new)})

    @property
    def interrupted(self) -> bool:
        return self.registry.stalled.is_set()

    def cut(self) -> None:
        self.registry.stop()


class Npm(Registered):
    plugin = "npm"
    programs = ("npm", "node")

    def version(self) -> str:
        return self.room.run("npm", "--version").strip()

    def prepare(self) -> None:
        self.room.write(
            self.room.home / ".npmrc", f"registry={self.registry.url}\nprefix={self.room.home}/prefix\n"
        )
        (self.room.home / "prefix/lib").mkdir(parents=True)
        self.registry.publish(PACKAGE, "1.0.0")
        self.room.run("npm", "install", "--global", PACKAGE)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self.registry.publish(PACKAGE, self.new, files=4000 if pausing else 0)
        return frozenset({Change(PACKAGE, "1.0.0", self.new)})

    @property
    def interrupted(self) -> bool:
        # The old version has been moved away, and the new one is being unpacked.
        modules = self.room.home / "prefix/lib/node_modules"
        return any(modules.glob(f".{PACKAGE}-*")) and (modules / PACKAGE / "lib").exists()

    def installed(self) -> Mapping[str, str]:
        listed = json.loads(self.room.run("npm", "ls", "--global", "--json", "--depth=0"))
        return {name: entry["version"] for name, entry in listed.get("dependencies", {}).items()}

    def complaint(self) -> str:
        program = self.room.finding(self.room.home / "prefix/bin" / PACKAGE)
        left = [path.name for path in (self.room.home / "prefix/lib/node_modules").glob(".ua-*")]
        return self.room.finding("npm", "ls", "--global") or program or " ".join(left)

"""composer: a repository on loopback that is one packages.json (Composer, "Repositories")."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

PACKAGE = "ua-lab/tool"


class Composer(Recipe):
    plugin = "composer"
    programs = ("composer", "php")

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "repository"))
        self._releases: dict[str, object] = {}

    def version(self) -> str:
        return self.room.run("composer", "--version", "--no-ansi").split()[2]

    def prepare(self) -> None:
        self.room.environment["COMPOSER_ALLOW_SUPERUSER"] = "1"
        self._publish("1.0.0")
        project = {
            "repositories": [{"type": "composer", "url": self.server.url}, {"packagist.org": False}],
            "config": {"secure-http": False},
            "require": {PACKAGE: "^1.0"},
        }
        self.room.write(self.room.home / ".config/composer/composer.json", json.dumps(project))
        self.room.run("composer", "global", "update", "--no-interaction")

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self._publish("1.1.0")
        if pausing:
            self.server.stalling = "1.1.0.zip"
        return frozenset({Change(PACKAGE, "1.0.0", "1.1.0")})

    @property
    def interrupted(self) -> bool:
        return self.server.stalled.is_set()

    def installed(self) -> Mapping[str, str]:
        file = self.room.home / f".config/composer/vendor/{PACKAGE}/version"
        return {PACKAGE: file.read_text()} if file.exists() else {}

    def cut(self) -> None:
        self.server.stop()

    def complaint(self) -> str:
        return self.room.finding("composer", "global", "validate", "--no-check-all", "--no-check-publish")

    def _publish(self, version: str) -> None:
        file = self.server.folder / f"{version}.zip"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("tool/composer.json", json.dumps({"name": PACKAGE}))
            archive.writestr("tool/version", version)
        self._releases[version] = {
            "name": PACKAGE,
            "version": version,
            "dist": {
                "type": "zip",
                "url": f"{self.server.url}/{file.name}",
                "shasum": hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest(),
            },
        }
        index = {"packages": {PACKAGE: self._releases}}
        (self.server.folder / "packages.json").write_text(json.dumps(index))
        self.server.touch()

"""A tiny npm registry: packuments and tarballs."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from urllib.parse import unquote

from loopback import Loopback


def tarball(files: dict[str, bytes]) -> bytes:
    """A package as `npm pack` makes it: everything below `package/`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class NpmRegistry:
    """Publish with `publish`; the last version published is `latest`."""

    def __init__(self) -> None:
        self._packages: dict[str, dict[str, bytes]] = {}
        self._latest: dict[str, str] = {}
        self._loopback = Loopback(self._answer)
        self._loopback.content_type = "application/json"
        self.url = f"{self._loopback.url}/"
        self.stop = self._loopback.stop
        self.stalled = self._loopback.stalled

    def publish(self, name: str, version: str, *, files: int = 0) -> None:
        """`files`: how many more files the package has, to make an installation last."""
        short = name.rpartition("/")[2]
        content = {
            "package.json": json.dumps({"name": name, "version": version, "bin": {short: "cli.js"}}).encode(),
            "cli.js": f"#!/usr/bin/env node\nconsole.log({version!r})\n".encode(),
        }
        content |= {f"lib/{number}.js": b"// of the lab\n" * 100 for number in range(files)}
        self._packages.setdefault(name, {})[version] = tarball(content)
        self._latest[name] = version

    def stall(self, ending: str) -> None:
        """Let the next request whose path ends so wait."""
        self._loopback.stalling = ending

    def _answer(self, path: str) -> bytes | None:
        name, separator, file = unquote(path.partition("?")[0]).strip("/").partition("/-/")
        if name not in self._packages:
            return None
        if separator:
            return self._packages[name].get(file.removesuffix(".tgz"))
        short = name.rpartition("/")[2]
        versions = {
            version: {
                "name": name,
                "version": version,
                "bin": {short: "cli.js"},
                "dist": {
                    "tarball": f"{self.url}{name}/-/{version}.tgz",
                    "integrity": "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode(),
                },
            }
            for version, data in self._packages[name].items()
        }
        document = {"name": name, "dist-tags": {"latest": self._latest[name]}, "versions": versions}
        return json.dumps(document).encode()

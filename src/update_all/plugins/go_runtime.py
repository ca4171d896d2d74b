"""The Go tool chain. Source: /dl/?mode=json of the Go site (version, file, SHA-256, size)."""

from __future__ import annotations

import sys

from update_all.api import (
    DownloadSpec,
    JsonValue,
    Release,
    ReleasePlugin,
    StepError,
    version_key,
)

FEED = "https://go.dev/dl/?mode=json"
MIRROR = "https://dl.google.com/go"
_LITTLE = "le" if sys.byteorder == "little" else ""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "loongarch64": "loong64"}
ARCHITECTURES |= dict.fromkeys(("i386", "i686"), "386") | dict.fromkeys(
    ("armv6l", "armv7l", "armv8l"), "armv6l"
)
ARCHITECTURES |= {name: name for name in ("ppc64", "ppc64le", "riscv64", "s390x")}
ARCHITECTURES |= {name: f"{name}{_LITTLE}" for name in ("mips", "mips64")}


class GoRuntimePlugin(ReleasePlugin):
    """Go in ~/apps/go, ~/.local/opt/go or /usr/local/go, from the publisher's archives."""

    description = "The Go tool chain"
    tags = ("go",)
    presence = "go-runtime"
    smoke = ("bin/go", "version")
    version_pattern = r"go version go(\S+)"
    architectures = ARCHITECTURES
    top = "go"
    must_have = ("bin/go", "VERSION")
    step_names = ("check-version", "download", "extract", "install", "symlink")

    @property
    def name(self) -> str:
        return "go-runtime"

    @property
    def command(self) -> str:
        return "go"

    async def newest_release(self) -> Release:
        feed = self.option("feed", FEED)
        archives = stable_archives(await self.fetch_json(feed), self.architecture)
        if not archives:
            raise StepError(f"the publisher's list has no stable release for linux/{self.architecture}")
        version, filename, sha256, size = max(archives, key=lambda archive: version_key(archive[0]))
        url = f"{self.option('mirror', MIRROR)}/{filename}"
        signature = self.signature(f"{url}.asc")
        return Release(version, DownloadSpec(url, filename, f"sha256:{sha256}", size, feed, signature))


def stable_archives(feed: JsonValue, architecture: str) -> list[tuple[str, str, str, int]]:
    """Version, file name, SHA-256 and size of the archives of stable releases for Linux."""
    archives: list[tuple[str, str, str, int]] = []
    for release in feed if isinstance(feed, list) else []:
        match release:
            case {"version": str(version), "stable": True, "files": list(files)}:
                described = (file for file in files if isinstance(file, dict))
                wanted = {"os": "linux", "arch": architecture, "kind": "archive"}.items()
                for file in (file for file in described if wanted <= file.items()):
                    match file:
                        case {"filename": str(name), "sha256": str(digest), "size": int(size)}:
                            archives.append((version.removeprefix("go"), name, digest, size))
    return archives

"""The Calibre library. Sources: calibre setup/linux-installer.py: /tarball-info/ARCH is "SHA512@VERSION",
/signatures/FILE.sha512 the same checksum again; the archive has no folder at its top.

Calibre's own installer is not used: it deletes the old version before it unpacks the new one.
"""

from __future__ import annotations

from update_all.api import DownloadSpec, Release, ReleasePlugin, StepError

FEED = "https://code.calibre-ebook.com"
MIRROR = "https://download.calibre-ebook.com"


class CalibrePlugin(ReleasePlugin):
    """Calibre in ~/apps/calibre, ~/calibre-bin/calibre or /opt/calibre."""

    description = "The Calibre library of electronic books"
    tags = ("books",)
    presence = "calibre"
    smoke = ("calibre", "--version")
    version_pattern = r"\(calibre (\d[^\s)]*)"
    architectures = {"x86_64": "x86_64", "aarch64": "arm64"}  # noqa: RUF012 - a ClassVar of the base class
    must_have = ("calibre", "calibre-debug")
    step_names = ("check", "download", "install", "install", "install")

    @property
    def name(self) -> str:
        return "calibre"

    @property
    def command(self) -> str:
        return "calibre"

    async def newest_release(self) -> Release:
        feed, architecture = self.option("feed", FEED), self.architecture
        digest, at, version = (await self.fetch_text(f"{feed}/tarball-info/{architecture}")).partition("@")
        version = version.strip()
        if not at or not version:
            raise StepError("the publisher's answer names no release")
        filename = f"calibre-{version}-{architecture}.txz"
        source = f"{feed}/signatures/{filename}.sha512"
        signed = await self.fetch_text(source)
        if signed.split() != digest.split():
            raise StepError(
                f"the publisher tells two checksums for {filename}, so the installed version is kept:"
                f" {digest.strip()} and {signed.strip()}"
            )
        url = f"{self.option('mirror', MIRROR)}/{version}/{filename}"
        return Release(version, DownloadSpec(url, filename, f"sha512:{digest}", digest_source=source))

"""The Waterfox browser. Sources: /repos/BrowserWorks/Waterfox/releases/latest of GitHub's API for the
version; archive and checksum (".sha512" appended, waterfox issue 271) on the publisher's own host.
"""

from __future__ import annotations

from update_all.api import (
    DownloadSpec,
    JsonValue,
    Release,
    ReleasePlugin,
    StepError,
    digest_from_sums,
)

FEED = "https://api.github.com/repos/BrowserWorks/Waterfox/releases/latest"
MIRROR = "https://cdn.waterfox.com/waterfox/releases"


class WaterfoxPlugin(ReleasePlugin):
    """Waterfox in ~/apps/waterfox, ~/.local/opt/waterfox or /opt/waterfox."""

    description = "The Waterfox browser"
    tags = ("browser",)
    presence = "waterfox"
    smoke = ("waterfox", "--version")
    version_pattern = r"Waterfox G?(\d\S*)"
    architectures = {"x86_64": "x86_64"}  # noqa: RUF012 - a ClassVar of the base class
    top = "waterfox"
    must_have = ("waterfox", "application.ini")

    @property
    def name(self) -> str:
        return "waterfox"

    @property
    def command(self) -> str:
        return "waterfox"

    async def newest_release(self) -> Release:
        match release := await self.fetch_json(self.option("feed", FEED)):
            case {"tag_name": str(version), "draft": False, "prerelease": False}:
                filename = f"waterfox-{version}.tar.bz2"
                url = f"{self.option('mirror', MIRROR)}/{version}/Linux_{self.architecture}/{filename}"
                digest, source = await self._digest(f"{url}.sha512", filename, release)
                return Release(version, DownloadSpec(url, filename, digest, digest_source=source))
        raise StepError("the publisher's answer names no release")

    async def _digest(self, url: str, filename: str, release: JsonValue) -> tuple[str, str]:
        """The checksum and who told it: GitHub where it has the archive too, else the file beside it."""
        match release:
            case {"assets": list(assets)}:
                for asset in assets:
                    match asset:
                        case {"name": str(name), "digest": str(digest)} if name == filename:
                            return digest, self.option("feed", FEED)
        try:
            return digest_from_sums(await self.fetch_text(url), filename), url
        except StepError as error:
            raise StepError(
                f"the publisher's checksum of {filename} is missing or wrong, so the installed version is"
                f" kept: {error.message}",
                hint="it is usually put right within days",
            ) from error

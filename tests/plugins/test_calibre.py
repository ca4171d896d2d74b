"""Calibre from a loopback host with the formats that its own installer reads."""

from __future__ import annotations

import asyncio
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from update_all.api import CheckStatus, Facts, JsonValue, PluginConfig, StepError, UpToDate
from update_all.plugins.calibre import CalibrePlugin

sys.path.insert(0, str(Path(__file__).parent.parent / "downloads"))
sys.path.insert(0, str(Path(__file__).parent))
from publisher import publisher
from publishers import CalibreSite, calibre_tree, plant, tarball
from release_steps import configure, machine_at, printed, run_step

STEPS = ["check", "download", "install"]


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    if platform.machine() not in CalibrePlugin.architectures:
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")


@pytest.fixture
def site() -> Iterator[CalibreSite]:
    with publisher() as server:
        site = CalibreSite(server)
        site.publish("8.0.1")
        yield site


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An installation as Calibre's own installer leaves it, the top folder named in plant() apart."""
    return plant(
        tmp_path / "opt/calibre", {f"top/{name}": data for name, data in calibre_tree("7.26").items()}
    )


def plugin_at(directory: Path, site: CalibreSite) -> CalibrePlugin:
    given: dict[str, JsonValue] = {"directory": str(directory), **site.options}
    return CalibrePlugin(PluginConfig(options=given))


def says(directory: Path) -> str:
    return printed(directory / "calibre", "--version").split()[-1].rstrip(")\n")


def test_the_steps_of_the_plan() -> None:
    assert [step.name for step in CalibrePlugin().get_update_steps()] == STEPS


def test_a_run_upgrades_a_second_is_a_no_op_and_rollback_returns(
    tmp_path: Path, directory: Path, site: CalibreSite
) -> None:
    with machine_at(tmp_path) as machine:
        configure(machine, "calibre", directory, site.options)
        ended = machine.run("run", "calibre", "--yes", "--json")
        assert ended.code == 0, ended.err
        assert says(directory) == "8.0.1"
        assert machine.run("check", "calibre").code == 0
        assert (
            machine.run("run", "--plugin", "calibre", "--resume-from", "install", "--yes", "--force").code
            == 0
        )
        assert machine.run("rollback", "calibre").code == 0
        assert says(directory) == "7.26"


def test_each_step_in_a_new_process(directory: Path, site: CalibreSite) -> None:
    facts: Facts = {}
    for step in STEPS:
        assert says(directory) == "7.26"
        plugin = plugin_at(directory, site)
        plugin.facts = json.loads(json.dumps(facts))
        run_step(plugin, step)
        facts = plugin.facts
    assert says(directory) == "8.0.1"
    with pytest.raises(UpToDate):
        run_step(plugin_at(directory, site), "check")


def test_an_install_that_broke_off_goes_on(directory: Path, site: CalibreSite) -> None:
    """Unpacked, and not yet a version."""
    plugin = plugin_at(directory, site)
    for step in STEPS[:2]:
        run_step(plugin, step)

    async def unpack() -> None:
        async for _ in plugin.unpack():
            pass

    asyncio.run(unpack())
    run_step(plugin, "install")
    assert says(directory) == "8.0.1"


def test_two_checksums_keep_the_old_version(directory: Path, site: CalibreSite) -> None:
    site.publish("8.0.2", signed="0" * 128)
    answer = asyncio.run(plugin_at(directory, site).check())
    assert (answer.status, "two checksums" in answer.reason) == (CheckStatus.CANNOT_KNOW, True)


def test_wrong_bytes_keep_the_old_version(directory: Path, site: CalibreSite) -> None:
    site.publish("8.0.2", sha512="1" * 128)
    plugin = plugin_at(directory, site)
    run_step(plugin, "check")
    with pytest.raises(StepError, match="sha512:1111"):
        run_step(plugin, "download")
    assert says(directory) == "7.26"


@pytest.mark.parametrize("feed", ["", "@", "abc@8.0", "no release", f"{'0' * 128}@", f"{'0' * 128}@../../x"])
def test_an_answer_that_is_none_is_not_up_to_date(directory: Path, site: CalibreSite, feed: str) -> None:
    for arch in CalibrePlugin.architectures.values():
        site.server.add(f"/tarball-info/{arch}", feed.encode())
    assert asyncio.run(plugin_at(directory, site).check()).status is CheckStatus.CANNOT_KNOW


def test_a_version_that_does_not_run_is_not_installed(directory: Path, site: CalibreSite) -> None:
    site.publish("8.0.2", tarball(calibre_tree("8.0.2", works=False), "w:xz"))
    plugin = plugin_at(directory, site)
    for step in STEPS[:-1]:
        run_step(plugin, step)
    with pytest.raises(StepError, match="does not run"):
        run_step(plugin, "install")
    assert says(directory) == "7.26"


@pytest.mark.parametrize(("machine", "word"), [("aarch64", "arm64"), ("x86_64", "x86_64"), ("i686", "")])
def test_every_architecture_or_a_clear_refusal(
    directory: Path, site: CalibreSite, monkeypatch: pytest.MonkeyPatch, machine: str, word: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    plugin = plugin_at(directory, site)
    assert plugin.detect().present == bool(word)
    if word:
        assert asyncio.run(plugin.newest_release()).download.filename == f"calibre-8.0.1-{word}.txz"

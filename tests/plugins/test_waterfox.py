"""Waterfox from loopback hosts with the real formats, among them a checksum that is missing or wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from update_all.api import CheckStatus, Facts, JsonValue, PluginConfig, StepError, UpToDate
from update_all.plugins.waterfox import WaterfoxPlugin

sys.path.insert(0, str(Path(__file__).parent.parent / "downloads"))
sys.path.insert(0, str(Path(__file__).parent))
from publisher import publisher
from publishers import WaterfoxSite, plant, tarball, waterfox_tree
from release_steps import configure, machine_at, printed, run_step

STEPS = ["check", "download", "extract", "install"]
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="published for x86_64 only")


@pytest.fixture
def site() -> Iterator[WaterfoxSite]:
    with publisher() as server:
        site = WaterfoxSite(server)
        site.publish("6.5.1")
        yield site


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return plant(tmp_path / "opt/waterfox", waterfox_tree("6.5.0"))


def plugin_at(directory: Path, site: WaterfoxSite) -> WaterfoxPlugin:
    given: dict[str, JsonValue] = {"directory": str(directory), **site.options}
    return WaterfoxPlugin(PluginConfig(options=given))


def says(directory: Path) -> str:
    return printed(directory / "waterfox", "--version").split()[-1]


def test_the_steps_of_the_plan() -> None:
    assert [step.name for step in WaterfoxPlugin().get_update_steps()] == STEPS


def test_a_run_upgrades_a_second_is_a_no_op_and_rollback_returns(tmp_path: Path, site: WaterfoxSite) -> None:
    with machine_at(tmp_path) as machine:
        directory = configure(machine, "waterfox", tmp_path / "opt/waterfox", site.options)
        plant(directory, waterfox_tree("6.5.0"))
        ended = machine.run("run", "waterfox", "--yes", "--json")
        assert ended.code == 0, ended.err
        assert says(directory) == "6.5.1"
        assert machine.run("check", "waterfox").code == 0
        assert (
            machine.run("run", "--plugin", "waterfox", "--resume-from", "extract", "--yes", "--force").code
            == 0
        )
        assert machine.run("rollback", "waterfox").code == 0
        assert says(directory) == "6.5.0"


def test_each_step_in_a_new_process(directory: Path, site: WaterfoxSite) -> None:
    facts: Facts = {}
    for step in STEPS:
        assert says(directory) == "6.5.0"
        plugin = plugin_at(directory, site)
        plugin.facts = json.loads(json.dumps(facts))
        run_step(plugin, step)
        facts = plugin.facts
    assert says(directory) == "6.5.1"
    with pytest.raises(UpToDate):
        run_step(plugin_at(directory, site), "check")


@pytest.mark.parametrize("sha512", ["", "<html>404</html>", "no checksum", "0" * 128 + "  other.tar.bz2"])
def test_a_missing_checksum_keeps_the_old_version(directory: Path, site: WaterfoxSite, sha512: str) -> None:
    site.publish("6.5.1", sha512=sha512)
    answer = asyncio.run(plugin_at(directory, site).check())
    assert answer.status is CheckStatus.CANNOT_KNOW
    assert "checksum of waterfox-6.5.1.tar.bz2 is missing or wrong" in answer.reason
    with pytest.raises(StepError, match="kept"):
        run_step(plugin_at(directory, site), "check")
    assert says(directory) == "6.5.0"


def test_a_wrong_checksum_keeps_the_old_version(directory: Path, site: WaterfoxSite) -> None:
    site.publish("6.5.1", sha512=f"{'0' * 128}  waterfox-6.5.1.tar.bz2\n")
    plugin = plugin_at(directory, site)
    run_step(plugin, "check")
    with pytest.raises(StepError, match="sha512:0000"):
        run_step(plugin, "download")
    assert says(directory) == "6.5.0"


def test_the_digest_of_github_is_the_second_source(directory: Path, site: WaterfoxSite) -> None:
    data = tarball(waterfox_tree("6.5.2"), "w:bz2")
    site.publish("6.5.2", data, sha512="", digest=f"sha256:{hashlib.sha256(data).hexdigest()}")
    plugin = plugin_at(directory, site)
    for step in STEPS:
        run_step(plugin, step)
    assert says(directory) == "6.5.2"


@pytest.mark.parametrize("tag", ["6.5.0", "G6.5.0", "6.4.9", "G6.0.20"])
def test_nothing_newer_is_up_to_date(directory: Path, site: WaterfoxSite, tag: str) -> None:
    site.publish(tag)
    assert asyncio.run(plugin_at(directory, site).check()).status is CheckStatus.UP_TO_DATE


@pytest.mark.parametrize("feed", ["{}", "[]", "null", '{"message": "API rate limit exceeded"}', "{"])
def test_an_answer_that_is_none_is_not_up_to_date(directory: Path, site: WaterfoxSite, feed: str) -> None:
    site.server.add("/repos/latest", feed.encode())
    assert asyncio.run(plugin_at(directory, site).check()).status is CheckStatus.CANNOT_KNOW


def test_a_version_that_does_not_run_is_not_installed(directory: Path, site: WaterfoxSite) -> None:
    site.publish("6.5.2", tarball(waterfox_tree("6.5.2", works=False), "w:bz2"))
    plugin = plugin_at(directory, site)
    for step in STEPS[:-1]:
        run_step(plugin, step)
    with pytest.raises(StepError, match="does not run"):
        run_step(plugin, "install")
    assert says(directory) == "6.5.0"
    assert not directory.is_symlink()


def test_other_machines_are_told_so(
    directory: Path, site: WaterfoxSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "not applicable" in plugin_at(directory, site).detect().reason

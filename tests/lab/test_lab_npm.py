"""The npm plugin with the real npm, a registry on loopback and a prefix of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import driver
import pytest
from registry_npm import NpmRegistry, tarball

from update_all.api import Change, CheckStatus
from update_all.plugins.npm import NpmPlugin

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")


@pytest.fixture
def registry(home: Path) -> Iterator[NpmRegistry]:
    server = NpmRegistry()
    (home / ".npmrc").write_text(f"registry={server.url}\nprefix={home}/prefix\n")
    (home / "prefix/lib").mkdir(parents=True)
    try:
        yield server
    finally:
        server.stop()


def npm(*arguments: str) -> str:
    return subprocess.run(["npm", *arguments], check=True, capture_output=True, text=True).stdout


def test_outdated_packages_are_found_upgraded_and_then_left_alone(registry: NpmRegistry, home: Path) -> None:
    registry.publish("ua-lab-one", "1.0.0")
    registry.publish("@ua-lab/two", "1.0.0")
    npm("install", "--global", "ua-lab-one", "@ua-lab/two")
    plugin = NpmPlugin()
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE

    registry.publish("ua-lab-one", "2.0.0")
    registry.publish("@ua-lab/two", "1.0.1")
    expected = {Change("ua-lab-one", "1.0.0", "2.0.0"), Change("@ua-lab/two", "1.0.0", "1.0.1")}
    assert set(driver.check(plugin).updates) == expected
    assert driver.versions(plugin) == {"ua-lab-one": "1.0.0", "@ua-lab/two": "1.0.0"}

    assert driver.run(plugin).failed is None
    assert driver.versions(plugin) == {"ua-lab-one": "2.0.0", "@ua-lab/two": "1.0.1"}
    program = home / "prefix/bin/ua-lab-one"
    assert subprocess.run([program], check=True, capture_output=True, text=True).stdout == "2.0.0\n"
    assert driver.run(plugin).ran == []


def test_dead_registry_is_never_up_to_date_even_with_a_warm_cache(registry: NpmRegistry) -> None:
    registry.publish("ua-lab-one", "1.0.0")
    npm("install", "--global", "ua-lab-one")
    npm("outdated", "--global", "--json")
    registry.stop()
    result = driver.check(NpmPlugin())
    assert result.status is CheckStatus.CANNOT_KNOW
    assert not result.runnable
    assert "ECONNREFUSED" in result.reason


def test_newer_prerelease_is_not_taken_back(registry: NpmRegistry) -> None:
    registry.publish("ua-lab-pre", "2.0.0-beta.2")
    npm("install", "--global", "ua-lab-pre")
    registry.publish("ua-lab-pre", "1.9.0")
    assert driver.check(NpmPlugin()).status is CheckStatus.UP_TO_DATE


def test_linked_folder_and_alias_are_left_alone(registry: NpmRegistry, home: Path) -> None:
    work = home / "work"
    work.mkdir()
    (work / "package.json").write_text('{"name": "ua-lab-linked", "version": "0.1.0"}')
    registry.publish("ua-lab-other", "1.0.0")
    npm("install", "--global", str(work))
    npm("install", "--global", "ua-lab-alias@npm:ua-lab-other@1.0.0")
    registry.publish("ua-lab-linked", "9.0.0")
    registry.publish("ua-lab-alias", "9.0.0")
    assert driver.check(NpmPlugin()).status is CheckStatus.UP_TO_DATE


def test_no_global_folder_is_up_to_date(registry: NpmRegistry, home: Path) -> None:
    shutil.rmtree(home / "prefix")
    assert driver.check(NpmPlugin()).status is CheckStatus.UP_TO_DATE
    assert driver.versions(NpmPlugin()) == {}


def test_garbage_from_the_registry_is_no_answer(registry: NpmRegistry, home: Path) -> None:
    registry.publish("ua-lab-one", "1.0.0")
    npm("install", "--global", "ua-lab-one")
    (home / ".npmrc").write_text(f"registry={registry.url}ua-lab-one/-/1.0.0.tgz?\nprefix={home}/prefix\n")
    assert driver.check(NpmPlugin()).status is CheckStatus.CANNOT_KNOW


def test_killed_install_is_healed(registry: NpmRegistry, home: Path) -> None:
    registry.publish("ua-lab-big", "1.0.0", files=2000)
    npm("install", "--global", "ua-lab-big")
    registry.publish("ua-lab-big", "2.0.0", files=2000)
    plugin = NpmPlugin()
    known = driver.check(plugin)
    command = (driver.steps(plugin, known)[0].commands or [])[0]
    process = subprocess.Popen(command.cmd, start_new_session=True, stdout=subprocess.DEVNULL)
    modules = home / "prefix/lib/node_modules"
    deadline = time.monotonic() + 30
    while not list(modules.glob(".ua-lab-big-*")) and time.monotonic() < deadline:
        assert process.poll() is None, "npm ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (home / "prefix/bin/ua-lab-big").exists()

    found = driver.check(plugin)
    assert [(change.item, change.new) for change in found.updates] == [("ua-lab-big", "2.0.0")]
    assert driver.run(plugin).failed is None
    assert driver.versions(plugin) == {"ua-lab-big": "2.0.0"}
    program = home / "prefix/bin/ua-lab-big"
    assert subprocess.run([program], check=True, capture_output=True, text=True).stdout == "2.0.0\n"
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE


@pytest.mark.parametrize("scope", [pytest.param("", marks=pytest.mark.lab), "@ua-lab/"])
def test_package_that_vanished_in_a_killed_install_comes_back(
    registry: NpmRegistry, home: Path, scope: str
) -> None:
    name = f"{scope}ua-lab-gone"
    registry.publish(name, "1.0.0")
    npm("install", "--global", name)
    registry.publish(name, "1.1.0")
    folder = home / "prefix/lib/node_modules" / name
    folder.rename(folder.with_name(".ua-lab-gone-A1b2C3d4"))
    (home / "prefix/bin/ua-lab-gone").unlink()
    plugin = NpmPlugin()
    assert driver.check(plugin).updates == (Change(name, None, "1.1.0"),)
    assert driver.run(plugin).failed is None
    assert driver.versions(plugin) == {name: "1.1.0"}
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE


def test_package_that_the_registry_does_not_know_is_no_update(registry: NpmRegistry, home: Path) -> None:
    archive = home / "local.tgz"
    archive.write_bytes(tarball({"package.json": b'{"name": "ua-lab-file", "version": "0.1.0"}'}))
    npm("install", "--global", str(archive))
    assert driver.check(NpmPlugin()).status is CheckStatus.UP_TO_DATE

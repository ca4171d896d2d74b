"""The pip, pipx and uv plugins with the real tools and an index on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import driver
import pytest
from registry_python import PythonIndex

from update_all.api import BasePlugin, Change, CheckStatus
from update_all.plugins.pip import PipPlugin
from update_all.plugins.pipx import PipxPlugin
from update_all.plugins.uv import UvPythonPlugin, UvToolsPlugin

TOOLS = Path(sys.executable).parent
BASE_PYTHON = Path(os.path.realpath(sys.executable))


@pytest.fixture(scope="module")
def shared_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that pipx makes once and shares, which takes seconds to build."""
    return tmp_path_factory.mktemp("pipx") / "shared"


@pytest.fixture
def index(home: Path, shared_pip: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PythonIndex]:
    """An index that all tools use; `python3` is the interpreter below this virtual environment."""
    server = PythonIndex()
    programs = home / "programs"
    programs.mkdir()
    for tool in ("pipx", "uv"):
        if (TOOLS / tool).exists():
            (programs / tool).symlink_to(TOOLS / tool)
    # A wrapper, for the interpreter finds its library by the path it is started with.
    (programs / "python3").write_text(f'#!/bin/sh\nexec {BASE_PYTHON} "$@"\n')
    (programs / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{home}/.local/bin:/usr/bin:/bin")
    monkeypatch.setenv("PIPX_SHARED_LIBS", str(shared_pip))
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    monkeypatch.setenv("UV_DEFAULT_INDEX", server.url)
    try:
        yield server
    finally:
        server.stop()


def call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def prints(home: Path, program: str) -> str:
    return call(str(home / ".local/bin" / program)).strip()


def ends_as_cannot_know(plugin: BasePlugin) -> None:
    result = driver.check(plugin)
    assert result.status is CheckStatus.CANNOT_KNOW
    assert result.reason
    assert not result.runnable


needs_uv = pytest.mark.skipif(not (TOOLS / "uv").exists(), reason="needs uv")
needs_pipx = pytest.mark.skipif(not (TOOLS / "pipx").exists(), reason="needs pipx")


@needs_uv
def test_uv_tools_are_found_upgraded_and_then_left_alone(index: PythonIndex, home: Path) -> None:
    for name in ("ua-lab-free", "ua-lab-pin", "ua-lab-below"):
        index.publish(name, "1.0")
    for wanted in ("ua-lab-free", "ua-lab-pin==1.0", "ua-lab-below<1.1"):
        call("uv", "tool", "install", wanted)
    plugin = UvToolsPlugin()
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE
    for name in ("ua-lab-free", "ua-lab-pin", "ua-lab-below"):
        index.publish(name, "2.0")
    index.publish("ua-lab-below", "1.0.5")

    expected = {Change("ua-lab-free", "1.0", "2.0"), Change("ua-lab-below", "1.0", "1.0.5")}
    assert set(driver.check(plugin).updates) == expected
    assert driver.run(plugin).failed is None
    assert driver.versions(plugin) == {"ua-lab-free": "2.0", "ua-lab-pin": "1.0", "ua-lab-below": "1.0.5"}
    assert prints(home, "ua-lab-free") == "2.0"
    assert driver.run(plugin).ran == []


@needs_uv
def test_uv_tools_with_a_dead_index_cannot_know(index: PythonIndex) -> None:
    index.publish("ua-lab-free", "1.0")
    call("uv", "tool", "install", "ua-lab-free")
    assert driver.check(UvToolsPlugin()).status is CheckStatus.UP_TO_DATE
    index.stop()
    ends_as_cannot_know(UvToolsPlugin())


@needs_uv
def test_nothing_installed_by_uv_is_up_to_date(index: PythonIndex) -> None:
    index.stop()
    for plugin in (UvToolsPlugin(), UvPythonPlugin()):
        assert driver.check(plugin).status is CheckStatus.UP_TO_DATE
        assert driver.versions(plugin) == {}


@needs_pipx
@pytest.mark.parametrize("backend", ["uv", pytest.param("pip", marks=pytest.mark.lab)])
def test_pipx_applications_are_found_upgraded_and_then_left_alone(
    index: PythonIndex, home: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    install_with_pipx(index, monkeypatch, backend, "ua-lab-free", "ua-lab-pin", "ua-lab-spec==1.0")
    index.publish("ua-lab-extra", "1.0")
    call("pipx", "inject", "ua-lab-free", "ua-lab-extra")
    call("pipx", "pin", "ua-lab-pin")
    plugin = PipxPlugin()
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE

    for name in ("ua-lab-free", "ua-lab-pin", "ua-lab-spec", "ua-lab-extra"):
        index.publish(name, "2.0")
    items = ("ua-lab-free", "ua-lab-free/ua-lab-extra", "ua-lab-spec")
    assert set(driver.check(plugin).updates) == {Change(item, "1.0", "2.0") for item in items}
    assert driver.run(plugin).failed is None
    assert driver.versions(plugin) == dict.fromkeys(items, "2.0")
    assert prints(home, "ua-lab-free") == "2.0"
    assert prints(home, "ua-lab-pin") == "1.0"
    assert driver.run(plugin).ran == []


@needs_pipx
@pytest.mark.parametrize("backend", ["uv", "pip"])
def test_pipx_with_a_dead_index_cannot_know(
    index: PythonIndex, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    install_with_pipx(index, monkeypatch, backend, "ua-lab-free")
    index.stop()
    ends_as_cannot_know(PipxPlugin())


@needs_pipx
@pytest.mark.parametrize("backend", ["uv", pytest.param("pip", marks=pytest.mark.lab)])
def test_pipx_application_that_a_killed_upgrade_lost_comes_back(
    index: PythonIndex, home: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    install_with_pipx(index, monkeypatch, backend, "ua-lab-free")
    index.publish("ua-lab-free", "2.0")
    venv = home / ".local/share/pipx/venvs/ua-lab-free"
    for path in venv.glob("lib/python*/site-packages/ua_lab_free*"):
        shutil.rmtree(path)
    plugin = PipxPlugin()
    found = driver.check(plugin)
    assert found.updates == (Change("ua-lab-free", None, "2.0"),), found.reason
    assert driver.run(plugin).failed is None
    assert driver.versions(plugin) == {"ua-lab-free": "2.0"}
    assert prints(home, "ua-lab-free") == "2.0"


def install_with_pipx(
    index: PythonIndex, monkeypatch: pytest.MonkeyPatch, backend: str, *wanted: str
) -> None:
    monkeypatch.setenv("PIPX_DEFAULT_BACKEND", backend)
    monkeypatch.setenv("PIPX_DEFAULT_PYTHON", str(BASE_PYTHON))
    # The first installation ends with a complaint that the index has no newer pip than Python bundles.
    index.publish_pip()
    for requirement in wanted:
        index.publish(requirement.partition("==")[0], "1.0")
        first = subprocess.run(["pipx", "install", requirement], capture_output=True, check=False)
        if first.returncode != 0:
            call("pipx", "install", requirement)


def test_pip_packages_are_found_upgraded_and_then_left_alone(index: PythonIndex, home: Path) -> None:
    index.publish("ua-lab-need", "1.0")
    index.publish("ua-lab-top", "1.0", requires=("ua-lab-need<2",))
    call("python3", "-m", "pip", "install", "--user", "ua-lab-top")
    plugin = PipPlugin()
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE

    index.publish("ua-lab-need", "1.5")
    index.publish("ua-lab-need", "2.0")
    index.publish("ua-lab-top", "1.1", requires=("ua-lab-need>=1.5,<2",))
    assert driver.check(plugin).updates == (Change("ua-lab-top", "1.0", "1.1"),)
    assert driver.run(plugin).failed is None
    assert driver.versions(plugin) == {"ua-lab-top": "1.1", "ua-lab-need": "1.5"}
    assert prints(home, "ua-lab-top") == "1.1"
    assert driver.run(plugin).ran == []


def test_pip_with_a_dead_index_cannot_know(index: PythonIndex) -> None:
    index.publish("ua-lab-top", "1.0")
    call("python3", "-m", "pip", "install", "--user", "ua-lab-top")
    index.publish("ua-lab-top", "2.0")
    index.stop()
    ends_as_cannot_know(PipPlugin())


def test_empty_user_site_is_up_to_date_without_an_index(index: PythonIndex) -> None:
    index.stop()
    assert driver.check(PipPlugin()).status is CheckStatus.UP_TO_DATE


@pytest.mark.parametrize(
    "kept", [pytest.param(True, id="resumed", marks=pytest.mark.lab), pytest.param(False, id="fresh")]
)
def test_package_that_a_killed_pip_lost_comes_back(index: PythonIndex, home: Path, kept: bool) -> None:
    index.publish("ua-lab-big", "1.0", files=3000)
    call("python3", "-m", "pip", "install", "--user", "ua-lab-big")
    index.publish("ua-lab-big", "2.0", files=3000)
    plugin = PipPlugin()
    known = driver.check(plugin)
    command = (driver.steps(plugin, known)[0].commands or [])[0]
    process = subprocess.Popen(command.cmd, start_new_session=True, stdout=subprocess.DEVNULL)
    site = next(home.glob(".local/lib/python*/site-packages"))
    deadline = time.monotonic() + 30
    while (site / "ua_lab_big-1.0.dist-info").exists() and time.monotonic() < deadline:
        assert process.poll() is None, "pip ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert driver.versions(plugin) == {}

    healed = driver.resume(plugin, known) if kept else driver.run(plugin)
    assert healed.failed is None, healed.output
    assert healed.ran[:1] == ["install"], healed.check
    assert driver.versions(plugin) == {"ua-lab-big": "2.0"}
    assert prints(home, "ua-lab-big") == "2.0"
    assert not list(site.glob("~*"))
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE


def test_environment_of_the_distribution_is_left_alone(index: PythonIndex, home: Path) -> None:
    if not list(Path("/usr/lib").glob("python3*/EXTERNALLY-MANAGED")):
        pytest.skip("no Python here is managed by the distribution")
    (home / "programs/python3").unlink()
    plugin = PipPlugin()
    detected = plugin.detect()
    assert not detected.present
    assert "PEP 668" in detected.reason
    result = driver.check(plugin)
    assert result.status is CheckStatus.UP_TO_DATE
    assert "PEP 668" in result.reason

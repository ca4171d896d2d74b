"""The cargo plugin with the real cargo and a sparse registry on loopback."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import driver
import pytest
from registry_crates import CrateRegistry

from update_all.api import Change, CheckStatus
from update_all.plugins.cargo import CargoPlugin


def real_cargo() -> Path | None:
    """The program of the toolchain itself: rustup's proxy would look for one in the test's home."""
    found = shutil.which("cargo")
    if found is None:
        return None
    asked = subprocess.run(["rustc", "--print=sysroot"], capture_output=True, text=True, check=False)
    program = Path(asked.stdout.strip()) / "bin" / "cargo"
    return program if asked.returncode == 0 and program.exists() else Path(found)


CARGO = real_cargo()
pytestmark = pytest.mark.skipif(CARGO is None, reason="needs cargo")


@pytest.fixture
def registry(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CrateRegistry]:
    server = CrateRegistry()
    (home / ".cargo").mkdir()
    (home / ".cargo/config.toml").write_text(server.configuration)
    assert CARGO is not None
    monkeypatch.setenv("PATH", f"{CARGO.parent}:/usr/bin:/bin")
    try:
        yield server
    finally:
        server.stop()


def cargo(*arguments: str) -> None:
    subprocess.run(["cargo", *arguments], check=True, capture_output=True)


def prints(home: Path, program: str) -> str:
    done = subprocess.run([home / ".cargo/bin" / program], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_outdated_programs_are_found_built_and_then_left_alone(registry: CrateRegistry, home: Path) -> None:
    for name in ("ua-lab-plain", "ua-lab-fancy", "ua-lab-wish"):
        registry.publish(name, "1.0.0")
    cargo("install", "ua-lab-plain")
    cargo("install", "ua-lab-fancy", "--features", "fancy")
    cargo("install", "ua-lab-wish", "--version", "1.0.0")
    plugin = CargoPlugin()
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE

    for name in ("ua-lab-plain", "ua-lab-fancy", "ua-lab-wish"):
        registry.publish(name, "1.10.0")
        registry.publish(name, "1.11.0", yanked=True)
        registry.publish(name, "2.0.0-beta.1")
    registry.requests.clear()
    expected = {Change(name, "1.0.0", "1.10.0") for name in ("ua-lab-plain", "ua-lab-fancy")}
    assert set(driver.check(plugin).updates) == expected
    assert not [path for path in registry.requests if path.startswith("/dl/")]

    done = driver.run(plugin)
    assert done.failed is None, done.output
    assert driver.versions(plugin) == {"ua-lab-plain": "1.10.0", "ua-lab-fancy": "1.10.0"}
    assert prints(home, "ua-lab-plain") == "1.10.0 false"
    assert prints(home, "ua-lab-fancy") == "1.10.0 true"
    assert prints(home, "ua-lab-wish") == "1.0.0 false"
    assert driver.run(plugin).ran == []


def test_dead_index_is_never_up_to_date(registry: CrateRegistry) -> None:
    registry.publish("ua-lab-plain", "1.0.0")
    cargo("install", "ua-lab-plain")
    registry.stop()
    result = driver.check(CargoPlugin())
    assert result.status is CheckStatus.CANNOT_KNOW
    assert not result.runnable


def test_program_that_left_the_registry_does_not_hide_the_others(registry: CrateRegistry, home: Path) -> None:
    registry.publish("ua-lab-plain", "1.0.0")
    registry.publish("ua-lab-gone", "1.0.0")
    cargo("install", "ua-lab-plain", "ua-lab-gone")
    (home / ".cargo/config.toml").unlink()
    successor = CrateRegistry()
    try:
        (home / ".cargo/config.toml").write_text(successor.configuration)
        successor.publish("ua-lab-plain", "1.1.0")
        assert driver.check(CargoPlugin()).updates == (Change("ua-lab-plain", "1.0.0", "1.1.0"),)
    finally:
        successor.stop()


def test_nothing_installed_is_up_to_date_without_an_index(registry: CrateRegistry) -> None:
    registry.stop()
    assert driver.check(CargoPlugin()).status is CheckStatus.UP_TO_DATE
    assert driver.versions(CargoPlugin()) == {}

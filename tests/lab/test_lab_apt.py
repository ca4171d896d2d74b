"""The apt plugin with the real apt-get and dpkg in a private root."""

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
from apt_root import AptRoot

from update_all.api import Change, CheckResult, CheckStatus, PluginConfig, StepError
from update_all.plugins.apt import AptPlugin

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None,
    reason="needs root (dpkg changes owners and roots) and apt-get",
)


@pytest.fixture
def lab(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AptRoot]:
    root = AptRoot(tmp_path, home)
    for name, value in root.environment.items():
        monkeypatch.setenv(name, value)
    root.publish("ua-lab-one", "1.0")
    root.publish("ua-lab-two", "1.0")
    root.start()
    try:
        yield root
    finally:
        root.stop()


def install(*packages: str) -> None:
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    subprocess.run(["apt-get", "-qq", "-y", "install", *packages], check=True, capture_output=True)


def test_outdated_packages_are_found_upgraded_and_then_left_alone(lab: AptRoot) -> None:
    install("ua-lab-one", "ua-lab-two")
    lab.publish("ua-lab-one", "1:1.5~rc1", Depends="ua-lab-new")
    lab.publish("ua-lab-new", "0.1")
    plugin = AptPlugin()

    before = driver.check(plugin)
    assert before.status is CheckStatus.CANNOT_KNOW
    assert before.runnable

    first = driver.run(plugin)
    assert first.failed is None, first.output
    assert first.ran == ["refresh", "compare", "download", "upgrade"]
    assert driver.versions(plugin) == {"ua-lab-one": "1:1.5~rc1", "ua-lab-two": "1.0", "ua-lab-new": "0.1"}

    archive = sorted(path.name for path in (lab.root / "var/cache/apt/archives").glob("*.deb"))
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE
    assert driver.run(plugin).ran == []
    assert sorted(path.name for path in (lab.root / "var/cache/apt/archives").glob("*.deb")) == archive


def test_check_tells_versions_sizes_and_security_and_changes_nothing(lab: AptRoot) -> None:
    install("ua-lab-one")
    plugin = AptPlugin()
    assert driver.run(plugin).ran == ["refresh", "compare"]
    lab.publish("ua-lab-one", "2.0")
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    result = driver.check(plugin)
    size = (lab.repository / "ua-lab-one_2.0_all.deb").stat().st_size
    assert result.updates == (Change("ua-lab-one", "1.0", "2.0", size_bytes=size, security=True),)
    assert driver.versions(plugin) == {"ua-lab-one": "1.0"}
    assert not list((lab.root / "var/cache/apt/archives").glob("ua-lab-one_2.0*"))


def test_download_only_needs_no_network_afterwards(lab: AptRoot) -> None:
    install("ua-lab-one")
    lab.publish("ua-lab-one", "2.0")
    plugin = AptPlugin()
    result = driver.check(plugin)
    steps = {step.name: step for step in driver.steps(plugin, result)}
    for name in ("refresh", "download"):
        for command in steps[name].commands or ():
            subprocess.run(command.cmd, check=True, capture_output=True)
    lab.stop()
    for command in steps["upgrade"].commands or ():
        subprocess.run(command.cmd, check=True, capture_output=True)
    assert driver.versions(plugin) == {"ua-lab-one": "2.0"}


def test_unreachable_archive_fails_the_refresh_and_is_never_up_to_date(lab: AptRoot) -> None:
    install("ua-lab-one")
    lab.stop()
    plugin = AptPlugin()
    assert driver.check(plugin).status is CheckStatus.CANNOT_KNOW
    assert driver.run(plugin).failed == "refresh"
    assert driver.check(plugin).status is CheckStatus.CANNOT_KNOW


def check_with_lists_of_age(lab: AptRoot, seconds: float) -> CheckResult:
    """The plugin's answer where the last refresh brought something so long ago."""
    then = time.time() - seconds
    for name in ("sources.list", "sources.list.d"):
        os.utime(lab.root / "etc/apt" / name, (0, 0))
    os.utime(lab.root / "var/lib/apt/lists", (then, then))
    return driver.check(AptPlugin())


def test_lists_that_somebody_else_fetched_show_updates_but_prove_nothing(lab: AptRoot) -> None:
    install("ua-lab-one")
    nothing = check_with_lists_of_age(lab, 60)
    assert nothing.status is CheckStatus.CANNOT_KNOW
    assert nothing.runnable
    lab.publish("ua-lab-one", "2.0")
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    assert [change.new for change in check_with_lists_of_age(lab, 60).updates] == ["2.0"]
    old = check_with_lists_of_age(lab, 3 * 86400 + 60)
    assert old.status is CheckStatus.CANNOT_KNOW
    assert old.runnable
    assert "3 days old" in old.reason
    assert check_with_lists_of_age(lab, -600).status is CheckStatus.CANNOT_KNOW


def test_refresh_is_not_repeated_within_the_hour_and_only_then(lab: AptRoot, home: Path) -> None:
    install("ua-lab-one")
    plugin = AptPlugin()
    driver.run(plugin)
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE
    lab.publish("ua-lab-one", "2.0")
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    assert "refresh" in driver.run(plugin).skipped
    (stamp,) = home.glob(".cache/update-all/*")
    os.utime(stamp, (time.time() - 3700, time.time() - 3700))
    lab.publish("ua-lab-one", "3.0")
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    assert "refresh" in driver.run(plugin).ran


def test_new_sources_and_emptied_lists_count_as_old_lists(lab: AptRoot) -> None:
    install("ua-lab-one")
    plugin = AptPlugin()
    driver.run(plugin)
    source = lab.root / "etc/apt/sources.list.d/more.list"
    source.write_text("# another source\n")
    os.utime(source, (time.time() + 5, time.time() + 5))
    changed = driver.check(plugin)
    assert changed.status is CheckStatus.CANNOT_KNOW
    assert "sources have changed" in changed.reason
    source.unlink()
    os.utime(source.parent, (0, 0))
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE
    for path in (lab.root / "var/lib/apt/lists").glob("*_*"):
        path.unlink()
    emptied = driver.check(plugin)
    assert emptied.status is CheckStatus.CANNOT_KNOW
    assert "never fetched" in emptied.reason


def test_held_package_is_left_alone(lab: AptRoot) -> None:
    install("ua-lab-one", "ua-lab-two")
    subprocess.run(["apt-mark", "hold", "ua-lab-one"], check=True, capture_output=True)
    lab.publish("ua-lab-one", "2.0")
    lab.publish("ua-lab-two", "2.0")
    plugin = AptPlugin()
    assert driver.run(plugin).failed is None
    assert driver.versions(plugin) == {"ua-lab-one": "1.0", "ua-lab-two": "2.0"}


def test_packages_that_nothing_needs_are_removed_unless_told_otherwise(lab: AptRoot) -> None:
    lab.publish("ua-lab-user", "1.0", Depends="ua-lab-two")
    install("ua-lab-user")
    subprocess.run(["apt-get", "-qq", "-y", "remove", "ua-lab-user"], check=True, capture_output=True)
    keeping = AptPlugin(PluginConfig(options={"autoremove": False}))
    driver.run(keeping)
    assert driver.check(keeping).status is CheckStatus.UP_TO_DATE
    plugin = AptPlugin()
    assert driver.check(plugin).updates == (Change("ua-lab-two", "1.0", None),)
    assert driver.run(plugin).ran[-1] == "autoremove"
    assert driver.versions(plugin) == {}


@pytest.mark.parametrize("mode", ["upgrade", "full-upgrade"])
def test_only_a_full_upgrade_removes_packages(lab: AptRoot, mode: str) -> None:
    install("ua-lab-one", "ua-lab-two")
    lab.publish("ua-lab-one", "2.0", Conflicts="ua-lab-two")
    plugin = AptPlugin(PluginConfig(options={"mode": mode}))
    assert driver.run(plugin).failed is None
    kept = {"ua-lab-one": "1.0", "ua-lab-two": "1.0"}
    assert driver.versions(plugin) == (kept if mode == "upgrade" else {"ua-lab-one": "2.0"})


def kill_in_postinst(lab: AptRoot, command: list[str]) -> None:
    """SIGKILL apt-get once dpkg runs a maintainer script; dpkg lives on, in a session of its own."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    started = lab.root / "tmp/started"
    while not started.exists() and time.monotonic() < deadline:
        assert process.poll() is None, "apt-get ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_upgrade_is_waited_for_healed_and_finished(lab: AptRoot) -> None:
    install("ua-lab-one", "ua-lab-two")
    plugin = AptPlugin()
    assert driver.run(plugin).ran == ["refresh", "compare"]
    lab.publish("ua-lab-one", "2.0", postinst="> /tmp/started\nsleep 2")
    lab.publish("ua-lab-two", "2.0")
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    known = driver.check(plugin)
    assert {change.item for change in known.updates} == {"ua-lab-one", "ua-lab-two"}
    steps = {step.name: step for step in driver.steps(plugin, known)}
    upgrade = (steps["upgrade"].commands or [])[-1]
    kill_in_postinst(lab, upgrade.cmd)
    assert any(lab.journal.iterdir())
    broken = driver.check(plugin)
    assert broken.status is CheckStatus.CANNOT_KNOW
    assert broken.runnable
    assert "interrupted" in broken.reason

    resumed = driver.resume(plugin, known)
    assert resumed.failed is None, resumed.output
    assert resumed.ran[0] == "repair"
    assert driver.versions(plugin) == {"ua-lab-one": "2.0", "ua-lab-two": "2.0"}
    assert subprocess.run(["dpkg", "--audit"], check=True, capture_output=True).stdout == b""
    assert driver.check(plugin).status is CheckStatus.UP_TO_DATE


def test_upgrade_step_alone_heals_what_its_own_death_left(lab: AptRoot) -> None:
    install("ua-lab-one")
    lab.publish("ua-lab-one", "2.0", postinst="> /tmp/started\nsleep 1")
    plugin = AptPlugin()
    upgrade = {step.name: step for step in driver.steps(plugin, driver.check(plugin))}["upgrade"]
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    commands = upgrade.commands or []
    kill_in_postinst(lab, commands[-1].cmd)
    for command in commands:
        done = subprocess.run(command.cmd, capture_output=True, text=True, check=False)
        assert done.returncode in {0, *command.ignore_exit_codes}, done.stderr
    assert driver.versions(plugin) == {"ua-lab-one": "2.0"}


def test_a_changed_configuration_file_asks_nobody_and_keeps_the_users(lab: AptRoot) -> None:
    lab.publish("ua-lab-ask", "1.0", conffile="theirs 1\n")
    install("ua-lab-ask")
    (lab.root / "etc/ua-lab-ask").write_text("mine\n")
    lab.publish("ua-lab-ask", "2.0", conffile="theirs 2\n")
    plugin = AptPlugin()
    assert driver.run(plugin).failed is None
    assert driver.versions(plugin)["ua-lab-ask"] == "2.0"
    assert (lab.root / "etc/ua-lab-ask").read_text() == "mine\n"


@pytest.mark.parametrize(("option", "value"), [("mode", "dist-upgrade"), ("autoremove", "yes")])
def test_bad_option_is_refused_by_name(lab: AptRoot, option: str, value: str) -> None:
    with pytest.raises(StepError, match=option):
        AptPlugin(PluginConfig(options={option: value})).get_update_steps()

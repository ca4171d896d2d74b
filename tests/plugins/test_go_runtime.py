"""Go from a loopback publisher with the real feed's format: check, upgrade, resume, refusals, rollback."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from update_all.api import CheckStatus, Facts, JsonValue, PluginConfig, StepError
from update_all.core.errors import ConfigError
from update_all.plugins.go_runtime import ARCHITECTURES, GoRuntimePlugin, stable_archives

sys.path.insert(0, str(Path(__file__).parent.parent / "downloads"))
sys.path.insert(0, str(Path(__file__).parent))
from publisher import Publisher, publisher
from publishers import GoSite, go_tree, plant, tarball
from release_steps import Machine, configure, machine_at, printed, run_step

STEPS = ["check-version", "download", "extract", "install", "symlink"]


@pytest.fixture
def server() -> Iterator[Publisher]:
    with publisher() as server:
        yield server


@pytest.fixture
def site(server: Publisher) -> GoSite:
    site = GoSite(server)
    site.publish("1.21.5")
    return site


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "machine").mkdir()
    with machine_at(tmp_path / "machine") as machine:
        yield machine


def go_at(machine: Machine, site: GoSite) -> Path:
    """The directory of Go, once the machine is told of it."""
    return configure(machine, "go-runtime", machine.root / "apps/go", site.options)


def says(directory: Path) -> str:
    """The version that the installed program tells."""
    return printed(directory / "bin/go", "version").split()[2].removeprefix("go")


def plugin_at(directory: Path, site: GoSite, **options: JsonValue) -> GoRuntimePlugin:
    given: dict[str, JsonValue] = {"directory": str(directory), **site.options, **options}
    return GoRuntimePlugin(PluginConfig(options=given))


def test_the_steps_of_the_plan() -> None:
    steps = GoRuntimePlugin().get_update_steps()
    assert [step.name for step in steps] == STEPS
    assert [step.depends_on for step in steps] == [[], *([name] for name in STEPS[:-1])]


@pytest.mark.parametrize("before", ["plain directory", "nothing"])
def test_a_run_upgrades_and_a_second_is_a_no_op(machine: Machine, site: GoSite, before: str) -> None:
    directory = go_at(machine, site)
    if before == "plain directory":
        plant(directory, go_tree("1.20"))
    assert machine.run("check", "go-runtime").code == 100
    ended = machine.run("run", "go-runtime", "--yes", "--json")
    assert ended.code == 0, ended.err
    assert says(directory) == "1.21.5"
    assert directory.is_symlink()
    sent = site.server.sent
    assert machine.run("check", "go-runtime").code == 0
    assert machine.run("run", "go-runtime", "--yes").code == 0
    assert site.server.sent - sent < 10_000, "a second run downloads nothing"
    site.publish("1.22.0")
    assert machine.run("run", "go-runtime", "--yes").code == 0
    assert says(directory) == "1.22.0"


def test_rollback_returns_to_the_version_before(machine: Machine, site: GoSite) -> None:
    directory = plant(go_at(machine, site), go_tree("1.20"))
    assert machine.run("rollback", "go-runtime").code == 1
    assert machine.run("run", "go-runtime", "--yes").code == 0
    for _ in range(2):
        ended = machine.run("rollback", "go-runtime")
        assert (ended.code, ended.err) == (0, "")
        assert "1.20" in ended.out
        assert says(directory) == "1.20"
    assert machine.run("run", "go-runtime", "--yes").code == 0
    assert says(directory) == "1.21.5"


def test_a_plugin_without_versions_has_nothing_to_roll_back(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    ended = machine.run("rollback", "alpha")
    assert ended.code == 1
    assert "alpha" in ended.err
    assert machine.run("rollback", "nosuch").code == 2


def test_download_only_installs_nothing(machine: Machine, site: GoSite) -> None:
    directory = plant(go_at(machine, site), go_tree("1.20"))
    assert machine.run("run", "go-runtime", "--yes", "--download-only").code == 0
    assert says(directory) == "1.20"
    sent = site.server.sent
    assert machine.run("resume").code == 0
    assert says(directory) == "1.21.5"
    assert site.server.sent == sent


@pytest.mark.parametrize("name", STEPS[1:])
def test_resume_from_each_step_in_a_new_process(machine: Machine, site: GoSite, name: str) -> None:
    directory = plant(go_at(machine, site), go_tree("1.20"))
    assert machine.run("run", "go-runtime", "--yes").code == 0
    ended = machine.run("run", "--plugin", "go-runtime", "--resume-from", name, "--yes", "--force")
    assert ended.code == 0, ended.err
    assert says(directory) == "1.21.5"


def test_each_step_works_on_the_facts_of_the_one_before_alone(tmp_path: Path, site: GoSite) -> None:
    directory = plant(tmp_path / "go", go_tree("1.20"))
    facts: Facts = {}
    for step in STEPS:
        for _ in range(2):
            plugin = plugin_at(directory, site)
            plugin.facts = json.loads(json.dumps(facts))
            run_step(plugin, step)
        facts = plugin.facts
    assert says(directory) == "1.21.5"


FAILURES = {
    "the feed is gone": lambda site: site.server.resources.pop("/dl/?mode=json"),
    "the archive is gone": lambda site: site.server.resources.pop("/go/go1.22.0.linux-amd64.tar.gz"),
    "no archive": lambda site: site.publish("1.22.1", data=b"not an archive"),
    "another tree": lambda site: site.publish("1.22.1", data=tarball({"other/bin/go": "#!/bin/sh\n"})),
    "does not run": lambda site: site.publish("1.22.1", data=tarball(go_tree("1.22.1", works=False))),
    "does not run there": lambda site: site.publish(
        "1.22.1", data=tarball(go_tree("1.22.1", works_as_current=False))
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the archive that is taken away is that of amd64")
def test_a_failed_step_leaves_the_old_version_running(machine: Machine, site: GoSite, failure: str) -> None:
    directory = plant(go_at(machine, site), go_tree("1.20"))
    site.publish("1.22.0")
    assert FAILURES[failure](site) is not None
    ended = machine.run("run", "go-runtime", "--yes")
    assert ended.code == 1
    assert says(directory) == "1.20"


def test_wrong_bytes_are_named_with_both_digests(machine: Machine, site: GoSite) -> None:
    directory = plant(go_at(machine, site), go_tree("1.20"))
    resource = site.publish("1.22.0")
    promised = hashlib.sha256(resource.data).hexdigest()
    resource.data = resource.data[:-1] + bytes([resource.data[-1] ^ 1])
    ended = machine.run("run", "go-runtime", "--yes", "--json")
    assert ended.code == 1
    assert promised in ended.out
    assert hashlib.sha256(resource.data).hexdigest() in ended.out
    assert says(directory) == "1.20"


def test_the_newest_stable_version_is_taken(tmp_path: Path, site: GoSite) -> None:
    for version, stable in (("1.9", True), ("1.22.10", True), ("1.22.9", True), ("1.23rc1", False)):
        site.publish(version, stable=stable)
    plugin = plugin_at(tmp_path / "go", site)
    assert asyncio.run(plugin.get_available_version()) == "1.22.10"


@pytest.mark.parametrize("installed", ["1.21.5", "1.22", "1.30rc1"])
def test_nothing_newer_is_up_to_date(tmp_path: Path, site: GoSite, installed: str) -> None:
    plugin = plugin_at(plant(tmp_path / "go", go_tree(installed)), site)
    assert asyncio.run(plugin.check()).status is CheckStatus.UP_TO_DATE


def test_an_older_offer_than_before_is_refused(tmp_path: Path, site: GoSite) -> None:
    directory = plant(tmp_path / "go", go_tree("1.20"))
    site.publish("1.22.0")
    run_step(plugin_at(directory, site), "check-version")
    site.withdraw()
    answer = asyncio.run(plugin_at(directory, site).check())
    assert answer.status is CheckStatus.CANNOT_KNOW
    assert "1.21.5, which is older than 1.22.0" in answer.reason
    allowed = asyncio.run(plugin_at(directory, site, allow_downgrade=True).check())
    assert [change.new for change in allowed.updates] == ["1.21.5"]


def test_what_the_refusal_of_an_older_version_says_to_type_is_enough(machine: Machine, site: GoSite) -> None:
    """Once: afterwards the older version is what was seen, and one older than that is refused again."""
    directory = plant(go_at(machine, site), go_tree("1.20"))
    site.publish("1.22.0")
    assert machine.run("run", "go-runtime", "--yes").code == 0
    site.withdraw()
    told = machine.run("check", "go-runtime").out
    typed = told[told.index("update-all run") :].partition(")")[0].split()[1:]
    assert machine.run(*typed, "--yes").code == 0
    assert says(directory) == "1.21.5"
    assert machine.run("check", "go-runtime").code == 0
    site.withdraw()
    site.publish("1.21.4")
    assert "older than 1.21.5" in machine.run("check", "go-runtime").out


def test_an_archive_that_is_gone_from_the_cache_is_told_with_the_way_out(
    machine: Machine, site: GoSite, tmp_path: Path
) -> None:
    directory = plant(go_at(machine, site), go_tree("1.20"))
    assert machine.run("run", "go-runtime", "--yes", "--download-only").code == 0
    for path in machine.root.glob("cache/*/downloads/sha256-*"):
        path.unlink()
    failed = machine.run("resume")
    assert (failed.code, "no longer in the cache" in failed.out) == (1, True)
    plugin = plugin_at(plant(tmp_path / "go", go_tree("1.20")), site)
    run_step(plugin, "check-version")
    with pytest.raises(StepError, match="no longer in the cache") as caught:
        run_step(plugin, "extract")
    assert machine.run(*caught.value.hint.split()[1:], "--yes").code == 0
    assert says(directory) == "1.21.5"


def test_a_release_with_other_bytes_than_before_is_refused(tmp_path: Path, site: GoSite) -> None:
    directory = plant(tmp_path / "go", go_tree("1.20"))
    run_step(plugin_at(directory, site), "check-version")
    site.withdraw()
    site.publish("1.21.5", data=tarball(go_tree("1.21.5", padding=10)))
    assert "exchanged" in asyncio.run(plugin_at(directory, site).check()).reason


@pytest.mark.parametrize(
    "feed",
    [b"", b"{}", b"[]", b"<html>log in</html>", b'[{"version": 1}]', b"[[[[", b"\xff\xfe", b'["x", null]'],
)
def test_a_feed_that_is_none_is_not_up_to_date(tmp_path: Path, site: GoSite, feed: bytes) -> None:
    site.server.add("/dl/?mode=json", feed)
    answer = asyncio.run(plugin_at(plant(tmp_path / "go", go_tree("1.20")), site).check())
    assert (answer.status, bool(answer.reason)) == (CheckStatus.CANNOT_KNOW, True)


def test_offline_is_not_up_to_date(tmp_path: Path, site: GoSite) -> None:
    plugin = plugin_at(plant(tmp_path / "go", go_tree("1.20")), site, feed="http://127.0.0.1:9/")
    assert asyncio.run(plugin.check()).status is CheckStatus.CANNOT_KNOW


def test_a_check_changes_nothing(machine: Machine, site: GoSite) -> None:
    directory = plant(go_at(machine, site), go_tree("1.20"))
    before = sorted(machine.root.rglob("*"))
    assert machine.run("check", "go-runtime").code == 100
    assert machine.run("run", "go-runtime", "--dry-run").code == 0
    assert [path for path in sorted(machine.root.rglob("*")) if path not in before] == []
    assert not directory.is_symlink()


@pytest.mark.parametrize("version", ["go../../x", "go-", "go1.22/..", "go"])
def test_a_version_that_is_no_name_is_refused(tmp_path: Path, site: GoSite, version: str) -> None:
    site.releases[0]["version"] = version
    site.publish("1.1", stable=False)
    answer = asyncio.run(plugin_at(plant(tmp_path / "go", go_tree("0.9")), site).check())
    assert answer.status is CheckStatus.CANNOT_KNOW


@pytest.mark.parametrize("machine_name", [*ARCHITECTURES, "riscv128", ""])
def test_every_architecture_or_a_clear_refusal(
    tmp_path: Path, server: Publisher, monkeypatch: pytest.MonkeyPatch, machine_name: str
) -> None:
    site = GoSite(server, *set(ARCHITECTURES.values()))
    site.publish("1.21.5")
    monkeypatch.setattr(platform, "machine", lambda: machine_name)
    plugin = plugin_at(tmp_path / "go", site)
    detection = plugin.detect()
    if machine_name in ARCHITECTURES:
        assert detection.present
        release = asyncio.run(plugin.newest_release())
        assert f"linux-{ARCHITECTURES[machine_name]}.tar.gz" in release.download.url
    else:
        assert not detection.present
        assert detection.reason.startswith("not applicable")


def test_where_it_is_looked_for(private_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(GoRuntimePlugin, "places", ("~/apps/go", "~/.local/opt/go"))
    assert not GoRuntimePlugin().detect().present
    plant(private_environment / ".local/opt/go", go_tree("1"))
    assert GoRuntimePlugin().detect().reason == str(private_environment / ".local/opt/go")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert not GoRuntimePlugin().detect().present, "root does not act on what HOME holds"


def test_a_place_that_belongs_to_root(tmp_path: Path, site: GoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of access(2) is replaced: the tests may run as root, who may write anywhere."""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    detection = plugin_at(plant(tmp_path / "go", go_tree("1")), site).detect()
    assert not detection.present
    assert "run update-all as" in detection.reason


def test_a_link_of_somebody_else_is_left_alone(tmp_path: Path, site: GoSite) -> None:
    plant(tmp_path / "go1.20", go_tree("1.20"))
    (tmp_path / "go").symlink_to(tmp_path / "go1.20")
    detection = plugin_at(tmp_path / "go", site).detect()
    assert (detection.present, str(tmp_path / "go1.20") in detection.reason) == (False, True)


def test_a_directory_that_holds_no_go_is_not_touched(tmp_path: Path, site: GoSite) -> None:
    (tmp_path / "go/src").mkdir(parents=True)
    assert asyncio.run(plugin_at(tmp_path / "go", site).check()).status is CheckStatus.CANNOT_KNOW


def test_a_record_that_cannot_be_read_fails_the_step(
    private_environment: Path, tmp_path: Path, site: GoSite
) -> None:
    record = private_environment / "state/update-all/releases/go-runtime.json"
    record.parent.mkdir(parents=True)
    record.write_text("[")
    with pytest.raises(StepError, match="cannot read"):
        run_step(plugin_at(plant(tmp_path / "go", go_tree("1.20")), site), "check-version")


def test_an_install_that_another_process_changes_fails_the_step(tmp_path: Path, site: GoSite) -> None:
    plugin = plugin_at(plant(tmp_path / "go", go_tree("1.20")), site)
    for name in STEPS[:3]:
        run_step(plugin, name)
    with (tmp_path / "go-versions/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StepError, match="another process"):
            run_step(plugin, "install")
    run_step(plugin, "install")


@pytest.mark.parametrize(
    ("option", "value"),
    [("feed", 5), ("place", "apps/go"), ("allow_downgrade", "yes"), ("bandwidth", "fast")],
)
def test_a_wrong_option_is_named(tmp_path: Path, site: GoSite, option: str, value: JsonValue) -> None:
    directory = plant(tmp_path / "go", go_tree("1.20"))
    plugin = plugin_at(Path(str(value)) if option == "place" else directory, site, **{option: value})
    with pytest.raises(ConfigError, match=option.replace("place", "directory")):
        asyncio.run(plugin.check())


def test_only_archives_for_linux_and_the_architecture_count(site: GoSite) -> None:
    feed: JsonValue = [{"version": "go1", "stable": True, "files": [None, "x", {}, {"os": "linux"}]}]
    assert stable_archives(feed, "amd64") == []

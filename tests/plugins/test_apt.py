"""What the apt plugin reads, and what it would run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.api import Change, Phase, PluginConfig, StepError
from update_all.plugins.apt import AptPlugin
from update_all.plugins.apt_output import (
    age_in_words,
    parse_installed,
    parse_places,
    parse_simulation,
    parse_sizes,
    with_sizes,
)

# apt 2.6.1, `apt-get -s -qq upgrade --with-new-pkgs`, run without root.
SIMULATION = """\
NOTE: This is only a simulation!
      apt-get needs root privileges for real execution.
      Keep also in mind that locking is deactivated,
      so don't depend on the relevance to the real current situation!
Inst ua-a [1.0] (1:2.0~rc1 Lab-Security:lab-security [all])
Inst ua-b [1.0] (1.1 Debian:12.5/stable [amd64])
Inst ua-d (1.0 Debian:12.5/stable, Debian-Security:12/stable-security [all])
Inst ua-c:i386 [1.0] (1.1 Debian:12.5/stable [i386]) []
Conf ua-a (1:2.0~rc1 Lab-Security:lab-security [all])
Conf ua-b (1.1 Debian:12.5/stable [amd64])
Conf ua-d (1.0 Debian:12.5/stable, Debian-Security:12/stable-security [all])
Conf ua-c:i386 (1.1 Debian:12.5/stable [i386])
"""

# apt 2.6.1, `apt-get -qq --print-uris upgrade --with-new-pkgs`.
URIS = """\
'http://127.0.0.1:8123/./ua-a_2.0%7erc1_all.deb' ua-a_1%3a2.0~rc1_all.deb 716 MD5Sum:1669b8970fd04a842bca
'http://127.0.0.1:8123/./ua-b_1.1_amd64.deb' ua-b_1.1_amd64.deb 708 SHA256:d0b97c427f6d31a9c302062f65347021
'http://127.0.0.1:8123/./ua-c_1.1_i386.deb' ua-c_1.1_i386.deb 720\x20
"""


def test_simulation_tells_versions_and_security() -> None:
    simulation = parse_simulation(SIMULATION)
    assert simulation.changes == (
        Change("ua-a", "1.0", "1:2.0~rc1", security=True),
        Change("ua-b", "1.0", "1.1"),
        Change("ua-d", None, "1.0", security=True),
        Change("ua-c:i386", "1.0", "1.1"),
    )
    assert simulation.unfinished == ()


def test_removals_of_a_simulation() -> None:
    removals = parse_simulation("Remv ua-b [1.1]\nRemv ua-d [1.0] [ua-e:amd64 ]\n").changes
    assert removals == (Change("ua-b", "1.1", None), Change("ua-d", "1.0", None))


def test_configuration_without_installation_is_unfinished_work() -> None:
    assert parse_simulation("Conf ua-a (1:3.0 localhost [all])\n").unfinished == ("ua-a",)


def test_sizes_are_matched_by_name_version_and_architecture() -> None:
    sizes = parse_sizes(URIS)
    assert sizes == {
        ("ua-a", "1:2.0~rc1", "all"): 716,
        ("ua-b", "1.1", "amd64"): 708,
        ("ua-c", "1.1", "i386"): 720,
    }
    sized = with_sizes(parse_simulation(SIMULATION + "Remv ua-z [1.0]\n"), sizes)
    # What is not printed lies in the archive already; a removal has no size.
    assert [change.size_bytes for change in sized] == [716, 708, 0, 720, None]


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    simulation = parse_simulation(text)
    assert len(simulation.changes) == len(simulation.architectures)
    parse_sizes(text)


names = st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,20}", fullmatch=True)
versions = st.from_regex(r"([0-9]:)?[0-9][0-9a-zA-Z.+~-]{0,15}", fullmatch=True)


@given(st.lists(st.tuples(names, st.none() | versions, versions), max_size=5))
def test_every_package_name_and_version_comes_back(packages: list[tuple[str, str | None, str]]) -> None:
    text = "".join(
        f"Inst {name}{f' [{old}]' if old else ''} ({new} Debian:12.5/stable [amd64])\n"
        for name, old, new in packages
    )
    assert parse_simulation(text).changes == tuple(Change(*package) for package in packages)


def test_installed_packages_are_named_as_apt_names_them() -> None:
    # dpkg-query 1.21.22, with the format of the plugin.
    listed = (
        "libc6\tamd64\t2.36-9\tii \nlibc6\ti386\t2.36-9\tii \ntzdata\tall\t2025b\thi \n"
        "gone\tamd64\t1.0\trc \nhalf\tamd64\t2.0\tiF \n"
    )
    expected = {"libc6": "2.36-9", "libc6:i386": "2.36-9", "tzdata": "2025b"}
    assert parse_installed(listed, "amd64") == expected


def test_places_are_those_of_apt_config() -> None:
    # apt-config 2.6.1.
    places = parse_places(
        "ARCHITECTURE='amd64'\nLISTS='/var/lib/apt/lists/'\nSTATUS='/var/lib/dpkg/status'\n"
        "SOURCE_LIST='/etc/apt/sources.list'\nSOURCE_PARTS='/etc/apt/sources.list.d/'\n"
    )
    assert places.journal == Path("/var/lib/dpkg/updates")
    assert places.lists == Path("/var/lib/apt/lists")
    with pytest.raises(StepError, match="STATUS"):
        parse_places("ARCHITECTURE='a'\nLISTS='l'\nSOURCE_LIST='s'\nSOURCE_PARTS='p'\n")
    with pytest.raises(StepError):
        parse_places("ARCHITECTURE='a\n")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "less than a minute"), (60, "1 minute"), (7199, "1 hour"), (7200, "2 hours"), (300000, "3 days")],
)
def test_age_in_words(seconds: float, words: str) -> None:
    assert age_in_words(seconds) == words


def test_nothing_may_ask_and_nothing_runs_without_waiting_for_the_lock() -> None:
    for step in AptPlugin().get_update_steps():
        for command in step.commands or ():
            assert command.sudo
            if command.cmd[0] == "apt-get":
                assert "-y" in command.cmd
                assert "DPkg::Lock::Timeout=600" in command.cmd
                assert "Dpkg::Options::=--force-confdef" in command.cmd
                assert "Dpkg::Options::=--force-confold" in command.cmd


def test_steps_that_change_packages_are_transactions_under_one_mutex() -> None:
    steps = {step.name: step for step in AptPlugin().get_update_steps()}
    assert {name for name, step in steps.items() if step.uninterruptible} == {
        "repair",
        "upgrade",
        "autoremove",
    }
    assert all("dpkg" in steps[name].mutexes for name in ("repair", "download", "upgrade", "autoremove"))
    assert "dpkg" not in steps["refresh"].mutexes


def test_download_only_ends_before_anything_is_installed() -> None:
    after = [s.name for s in AptPlugin().get_update_steps() if s.effective_phase is Phase.EXECUTE]
    assert after == ["repair", "upgrade", "autoremove"]


def test_options_choose_mode_and_autoremove() -> None:
    plugin = AptPlugin(PluginConfig(options={"mode": "full-upgrade", "autoremove": False}))
    steps = {step.name: step for step in plugin.get_update_steps()}
    assert "autoremove" not in steps
    commands = steps["upgrade"].commands or []
    assert commands[-1].cmd[-1] == "dist-upgrade"
    with pytest.raises(StepError, match="sideways"):
        AptPlugin(PluginConfig(options={"mode": "sideways"})).get_update_steps()


def test_apt_without_dpkg_is_another_package_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not AptPlugin().detect().present
    (tmp_path / "dpkg").write_text("#!/bin/sh\n")
    (tmp_path / "dpkg").chmod(0o755)
    assert AptPlugin().detect().present


def test_every_privileged_program_is_declared() -> None:
    plugin = AptPlugin()
    programs = {c.cmd[0] for step in plugin.get_update_steps() for c in step.commands or () if c.sudo}
    assert programs == set(plugin.sudo_commands)

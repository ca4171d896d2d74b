"""TeX Live with the real tlmgr on a small tree and repository; where there is no tlmgr, what it printed."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from update_all.api import BasePlugin, Change, CheckResult, CheckStatus, PluginConfig, StepError
from update_all.plugins.texlive import parse_database, parse_updates
from update_all.plugins.texlive_packages import TexLivePackagesPlugin
from update_all.plugins.texlive_self import TexLiveSelfPlugin

sys.path.insert(0, str(Path(__file__).parent))
import tlnet
from release_steps import Machine, machine_at

real = pytest.mark.skipif(not tlnet.available(), reason="needs Debian's texlive-base")

# As printed by tlmgr 63068, with a package of each flag of tlmgr(1).
LISTED = """location-url\t/srv/tlnet
total-bytes\t552
end-of-header
foo\tu\t1\t2\t276\t-\t-\t-\t-\t-
texlive.infra\tu\t1\t2\t276\t-\t-\t-\t-\t-
fresh\ta\t-\t7\t300\t-\t-\t-\t-\t-
gone\td\t5\t-\t-\t-\t-\t-\t-\t-
kept\tr\t9\t8\t276\t-\t-\t-\t-\t-
forced\tf\t-\t8\t276\t-\t-\t-\t-\t-
end-of-updates
"""


def test_the_list_of_updates() -> None:
    assert parse_updates(LISTED) == [
        ("u", Change("foo", "1", "2", size_bytes=276)),
        ("u", Change("texlive.infra", "1", "2", size_bytes=276)),
        ("a", Change("fresh", None, "7", size_bytes=300)),
        ("d", Change("gone", "5", None)),
    ]


@pytest.mark.parametrize("lines", range(LISTED.count("\n") - 1))
def test_a_list_that_breaks_off_is_no_list(lines: int) -> None:
    with pytest.raises(StepError, match="did not finish"):
        parse_updates("".join(LISTED.splitlines(keepends=True)[:lines]))


def test_the_database() -> None:
    text = "\n".join([tlnet.configuration("2022"), tlnet.record("foo", 3), tlnet.record("bar.x86_64", 12)])
    assert parse_database(text) == {"foo": "3", "bar.x86_64": "12"}


@pytest.mark.parametrize("there", [True, False])
def test_the_steps_of_the_plan_and_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    if there:
        fake_tree(tmp_path, monkeypatch)
    assert [step.name for step in TexLiveSelfPlugin().get_update_steps()] == ["check", "update"]
    if there:
        steps = asyncio.run(TexLivePackagesPlugin().plan_steps(CheckResult.of([])))
        assert [step.name for step in steps] == ["update"]
    assert "texlive-self" in TexLivePackagesPlugin().dependencies


def fake_tree(root: Path, monkeypatch: pytest.MonkeyPatch, script: str = "exit 3") -> Path:
    """A tree in the publisher's layout whose tlmgr is a shell script."""
    program = root / "tl/texmf-dist/scripts/texlive/tlmgr.pl"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (root / "tl/bin/x").mkdir(parents=True)
    (root / "tl/bin/x/tlmgr").symlink_to(program)
    (root / "tl/tlpkg").mkdir()
    (root / "tl/tlpkg/texlive.tlpdb").write_text(tlnet.record("foo", 1))
    monkeypatch.setenv("PATH", f"{root}/tl/bin/x:{os.environ['PATH']}")
    return root / "tl"


RELEASES = {
    "older": "Local TeX Live (2022) is older than remote repository (2023).\nCross release updates are only",
    "range": "(2016--2021)\ndo not include the version of the local installation\n  (2022).",
    "other": "and the repository are not compatible:\n      local: 2022\n repository: 2023 (/srv/tlnet)",
}


@pytest.mark.parametrize("message", RELEASES.values(), ids=RELEASES)
def test_another_year_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    """The three wordings of tlmgr 63068 (setup_one_remotetlpdb), printed by a script."""
    fake_tree(tmp_path, monkeypatch, f"cat >&2 <<'END'\n{message}\nEND\nexit 1")
    for plugin in (TexLiveSelfPlugin(), TexLivePackagesPlugin()):
        answer = asyncio.run(plugin.check())
        assert answer.status is CheckStatus.CANNOT_KNOW
        assert "cannot be updated across releases" in answer.reason


@pytest.mark.parametrize(
    "script", ["exit 0", "echo end-of-header; exit 0", "exit 1", "echo oops >&2; exit 2"]
)
def test_no_answer_is_not_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    fake_tree(tmp_path, monkeypatch, script)
    assert asyncio.run(TexLivePackagesPlugin().check()).status is CheckStatus.CANNOT_KNOW


def test_a_tree_of_somebody_else_is_updated_as_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of access(2) is replaced: the tests may run as root, who may write anywhere."""
    root = fake_tree(tmp_path, monkeypatch)
    monkeypatch.setattr("update_all.plugins.texlive.os.access", lambda path, mode: mode != os.W_OK)
    steps = asyncio.run(TexLivePackagesPlugin().plan_steps(CheckResult.of([])))
    assert steps[0].needs_root
    assert list(TexLivePackagesPlugin().sudo_commands) == [str(root / "bin/x/tlmgr")]


@pytest.fixture
def texlive(tmp_path: Path) -> Iterator[TexLive]:
    with machine_at(tmp_path) as machine:
        yield TexLive(machine)


class TexLive:
    """A machine with a small TeX Live: foo and tlmgr itself are outdated, bar is not."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.root, self.repository = machine.root / "texlive", machine.root / "tlnet"
        self.publish({"texlive.infra": 2, "foo": 2, "bar": 1})
        programs = tlnet.make_tree(self.root, {"texlive.infra": 1, "foo": 1, "bar": 1}, self.repository)
        trees = {
            name: str(machine.root / name.lower())
            for name in (
                "TEXMFSYSVAR",
                "TEXMFSYSCONFIG",
                "TEXMFVAR",
                "TEXMFCONFIG",
                "TEXMFHOME",
                "TEXMFLOCAL",
            )
        }
        settings = machine.root / "texmfsysconfig/tlmgr/config"
        settings.parent.mkdir(parents=True)
        settings.write_text("verify-repo = none\n")
        machine.env |= {**trees, "TEXMFDIST": str(self.root / "texmf-dist")}
        machine.env["PATH"] = f"{programs}:{machine.env['PATH']}"
        machine.config("[plugins]\nenabled = []\n")

    def publish(self, packages: Mapping[str, int], year: str = tlnet.YEAR) -> None:
        tlnet.publish(self.repository, packages, year)

    def installed(self) -> dict[str, str]:
        return parse_database((self.root / "tlpkg/texlive.tlpdb").read_text())

    def tlmgr(self, *arguments: str) -> str:
        command = [shutil.which("tlmgr", path=self.machine.env["PATH"]) or "tlmgr", *arguments]
        return subprocess.run(
            command, env=self.machine.env, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def ask(self, monkeypatch: pytest.MonkeyPatch, kind: Callable[[], BasePlugin]) -> CheckResult:
        for name, value in self.machine.env.items():
            monkeypatch.setenv(name, value)
        return asyncio.run(kind().check())


@real
def test_both_are_updated_in_order_and_a_second_run_is_a_no_op(texlive: TexLive) -> None:
    assert texlive.machine.run("check", "texlive-self", "texlive-packages").code == 100
    ended = texlive.machine.run("run", "texlive-packages", "texlive-self", "--yes")
    assert ended.code == 0, ended.err + ended.out
    assert texlive.installed() == {"texlive.infra": "2", "foo": "2", "bar": "1"}
    assert (texlive.root / "texmf-dist/tex/foo/foo.sty").read_text() == "foo 2\n"
    assert texlive.machine.run("check", "texlive-self", "texlive-packages").code == 0
    assert texlive.machine.run("run", "texlive-packages", "texlive-self", "--yes").code == 0


@real
def test_each_tells_its_own_packages(texlive: TexLive, monkeypatch: pytest.MonkeyPatch) -> None:
    itself = texlive.ask(monkeypatch, TexLiveSelfPlugin)
    others = texlive.ask(monkeypatch, TexLivePackagesPlugin)
    assert [replace(change, size_bytes=0) for change in itself.updates] == [
        Change("texlive.infra", "1", "2", size_bytes=0)
    ]
    assert [(change.item, change.old, change.new) for change in others.updates] == [("foo", "1", "2")]
    assert all(change.size_bytes for change in (*itself.updates, *others.updates))


@real
def test_packages_before_tlmgr_itself_fail_by_name(texlive: TexLive) -> None:
    ended = texlive.machine.run("run", "texlive-packages", "--yes")
    assert ended.code == 1
    assert "tlmgr itself needs to be updated" in ended.out + ended.err
    assert texlive.installed()["foo"] == "1"


@real
def test_another_year_changes_nothing(texlive: TexLive, monkeypatch: pytest.MonkeyPatch) -> None:
    texlive.publish({"texlive.infra": 2, "foo": 2}, year="2023")
    answer = texlive.ask(monkeypatch, TexLivePackagesPlugin)
    assert "cannot be updated across releases" in answer.reason
    texlive.machine.run("run", "texlive-packages", "--yes")
    assert texlive.installed()["foo"] == "1"


@real
def test_a_repository_that_is_gone_is_not_up_to_date(
    texlive: TexLive, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(texlive.repository)
    assert texlive.ask(monkeypatch, TexLivePackagesPlugin).status is CheckStatus.CANNOT_KNOW


@real
def test_a_package_lost_in_a_kill_is_installed_again(
    texlive: TexLive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed tlmgr leaves what `tlmgr remove --force` leaves: neither files nor an entry."""
    texlive.tlmgr("update", "--self")
    planned = texlive.ask(monkeypatch, TexLivePackagesPlugin)
    texlive.tlmgr("remove", "--force", "foo")
    assert "foo" not in texlive.installed()
    (step,) = asyncio.run(TexLivePackagesPlugin().plan_steps(planned))
    for command in step.commands or []:
        texlive.tlmgr(*command.cmd[1:])
    assert texlive.installed()["foo"] == "2"
    assert (texlive.root / "texmf-dist/tex/foo/foo.sty").exists()


@real
@pytest.mark.parametrize("published", [True, False])
def test_a_new_run_knows_what_an_unfinished_one_lost(texlive: TexLive, published: bool) -> None:
    """The first run fails; what a kill would have done to the package is done by hand."""
    assert texlive.machine.run("run", "texlive-packages", "--yes").code == 1
    texlive.tlmgr("update", "--self")
    texlive.tlmgr("remove", "--force", "foo")
    if not published:
        texlive.publish({"texlive.infra": 2, "bar": 1})
    assert texlive.machine.run("check", "texlive-packages").code == (100 if published else 0)
    ended = texlive.machine.run("run", "texlive-packages", "--yes")
    assert ended.code == 0, ended.err + ended.out
    assert texlive.installed().get("foo") == ("2" if published else None)
    texlive.tlmgr("remove", "--force", "bar")
    assert texlive.machine.run("check", "texlive-packages").code == 0, "what its owner removed stays removed"


@real
def test_the_distributions_is_left_to_it_and_the_users_tree_is_not(
    texlive: TexLive, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = texlive.machine
    machine.env["PATH"] = "/usr/bin:/bin"
    for name, value in machine.env.items():
        monkeypatch.setenv(name, value)
    for kind in (TexLiveSelfPlugin, TexLivePackagesPlugin):
        assert "distribution" in kind().detect().reason
        assert not kind().detect().present
    texlive.tlmgr("init-usertree")
    assert not TexLiveSelfPlugin().detect().present
    config = PluginConfig(options={"repository": str(texlive.repository)})
    plugin = TexLivePackagesPlugin(config)
    assert plugin.detect().present
    answer = asyncio.run(plugin.check())
    assert (answer.status, answer.reason) == (CheckStatus.UP_TO_DATE, "")
    (step,) = asyncio.run(plugin.plan_steps(answer))
    assert [command.cmd[1] for command in step.commands or []] == ["--usermode"]
    assert not step.needs_root

"""Spack as a real git checkout of a real remote; its program is a script, Spack itself has no part in it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from update_all.api import CheckStatus, PluginConfig, QueryOutput, StepError
from update_all.plugins.checkouts import Note
from update_all.plugins.spack import SpackPlugin

sys.path.insert(0, str(Path(__file__).parent))
from release_steps import machine_at, printed, run_step

NEW_SPACK = '#!/bin/sh\ncase "$*" in "repo update") touch "$0.updated";; --version) echo 1.0.0;; esac\n'
OLD_SPACK = """#!/bin/sh
case "$*" in
"repo update") echo "spack repo: error: argument SUBCOMMAND: invalid choice: 'update'" >&2; exit 2;;
--version) echo 0.21.0;;
esac
"""
RECIPES_FAIL_ONCE = """#!/bin/sh
case "$*" in
"repo update") test -e "$0.tried" || { touch "$0.tried"; echo "no network" >&2; exit 1; };;
--version) echo 1.0.0;;
esac
"""
BROKEN = "#!/bin/sh\nexit 1\n"


def git(place: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=develop"]
    command = ["git", *identity, "-C", str(place), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Upstream:
    """The publisher's repository."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        git(place, "init", "--quiet")
        self.commit(OLD_SPACK)

    def commit(self, script: str = NEW_SPACK) -> str:
        program = self.place / "bin/spack"
        program.parent.mkdir(exist_ok=True)
        program.write_text(script + f"# {len(list(self.place.glob('note*')))}\n")
        program.chmod(0o755)
        (self.place / f"note{len(list(self.place.glob('note*')))}").touch()
        git(self.place, "add", "--all")
        git(self.place, "commit", "--quiet", "-m", "next")
        return git(self.place, "rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "upstream")


@pytest.fixture
def checkout(tmp_path: Path, upstream: Upstream) -> Path:
    git(tmp_path, "clone", "--quiet", str(upstream.place), "spack")
    return tmp_path / "spack"


@pytest.fixture
def plugin(checkout: Path, upstream: Upstream) -> SpackPlugin:
    options = {"directory": str(checkout), "remote": str(upstream.place)}
    return SpackPlugin(PluginConfig(options=options))


def test_the_steps_of_the_plan(plugin: SpackPlugin) -> None:
    assert [step.name for step in plugin.get_update_steps()] == ["git-pull", "update"]


@pytest.fixture
def config_lines(checkout: Path, upstream: Upstream) -> str:
    return f'[plugin.spack]\ndirectory = "{checkout}"\nremote = "{upstream.place}"\n'


def test_a_run_moves_forward_and_a_second_is_a_no_op(
    tmp_path: Path, upstream: Upstream, checkout: Path, config_lines: str
) -> None:
    with machine_at(tmp_path) as machine:
        machine.config(config_lines)
        assert machine.run("check", "spack").code == 0
        new = upstream.commit()
        assert machine.run("check", "spack").code == 100
        ended = machine.run("run", "spack", "--yes")
        assert ended.code == 0, ended.err + ended.out
        assert git(checkout, "rev-parse", "HEAD") == new
        assert (checkout / "bin/spack.updated").exists()
        assert machine.run("check", "spack").code == 0
        assert machine.run("run", "spack", "--yes").code == 0


def test_resume_from_each_step(tmp_path: Path, upstream: Upstream, checkout: Path, config_lines: str) -> None:
    with machine_at(tmp_path) as machine:
        machine.config(config_lines)
        new = upstream.commit()
        for step in ("git-pull", "update"):
            ended = machine.run("run", "--plugin", "spack", "--resume-from", step, "--yes", "--force")
            assert ended.code == 0, ended.err
            assert git(checkout, "rev-parse", "HEAD") == new


def test_before_version_1_the_recipes_came_with_the_checkout(
    tmp_path: Path, upstream: Upstream, config_lines: str
) -> None:
    with machine_at(tmp_path) as machine:
        machine.config(config_lines)
        upstream.commit(OLD_SPACK)
        assert machine.run("run", "spack", "--yes").code == 0


def test_a_commit_that_does_not_run_is_left_again(
    plugin: SpackPlugin, upstream: Upstream, checkout: Path
) -> None:
    before = git(checkout, "rev-parse", "HEAD")
    upstream.commit(BROKEN)
    with pytest.raises(StepError, match="does not run"):
        run_step(plugin, "git-pull")
    assert git(checkout, "rev-parse", "HEAD") == before
    assert subprocess.run([checkout / "bin/spack", "--version"], check=False).returncode == 0


@pytest.mark.parametrize("works", [True, False])
def test_a_move_that_was_killed_before_its_trial_is_tried(
    plugin: SpackPlugin, upstream: Upstream, checkout: Path, works: bool
) -> None:
    """Killed between the move and the first run of what came: git says that the checkout is the newest."""
    before = git(checkout, "rev-parse", "HEAD")
    new = upstream.commit(NEW_SPACK if works else BROKEN)
    with pytest.raises(Cut):
        run_step(CutOff(plugin.config), "git-pull")
    assert git(checkout, "rev-parse", "HEAD") == new
    (change,) = asyncio.run(plugin.check()).updates
    assert (change.old, change.new) == (before[:12], new[:12])
    if works:
        run_step(plugin, "git-pull")
        assert asyncio.run(plugin.check()).status is CheckStatus.UP_TO_DATE
    else:
        with pytest.raises(StepError, match=f"Spack is at {before[:12]} again"):
            run_step(plugin, "git-pull")
    assert git(checkout, "rev-parse", "HEAD") == (new if works else before)


class Cut(Exception):  # noqa: N818 - it stands for a kill, which is no error
    """The process ended here."""


class CutOff(SpackPlugin):
    """Ends when the new Spack would be run for the first time."""

    async def query(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 20.0,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> QueryOutput:
        if argv[0].endswith("bin/spack"):
            raise Cut
        return await super().query(argv, timeout=timeout, env=env, cwd=cwd)


def test_a_move_that_was_killed_half_way_is_finished(
    plugin: SpackPlugin, upstream: Upstream, checkout: Path
) -> None:
    """What a git that was killed while it wrote files leaves: the note, its lock, a mixed tree."""
    before = git(checkout, "rev-parse", "HEAD")
    upstream.commit()
    new = git(upstream.place, "rev-parse", "HEAD")
    git(checkout, "fetch", "--quiet")
    Note("refs/heads/develop", before, new).write(checkout / ".git")
    (checkout / "bin/spack").write_text(git(upstream.place, "show", "HEAD:bin/spack") + "\n")
    (checkout / ".git/index.lock").touch()
    assert asyncio.run(plugin.check()).status is CheckStatus.UPDATES
    run_step(plugin, "git-pull")
    assert git(checkout, "rev-parse", "HEAD") == new
    assert git(checkout, "status", "--porcelain", "--untracked-files=no") == ""


def test_each_step_fails_and_resume_goes_on(
    tmp_path: Path, upstream: Upstream, checkout: Path, config_lines: str
) -> None:
    """First git cannot write, then the recipes fail: Spack runs, and a new process finishes."""
    with machine_at(tmp_path) as machine:
        machine.config(config_lines)
        new = upstream.commit(RECIPES_FAIL_ONCE)
        (checkout / ".git/packed-refs.lock").touch()
        (checkout / ".git/refs/update-all").touch()
        assert machine.run("run", "spack", "--yes").code == 1
        assert printed(checkout / "bin/spack", "--version") == "0.21.0\n"
        (checkout / ".git/packed-refs.lock").unlink()
        (checkout / ".git/refs/update-all").unlink()
        failed = machine.run("resume")
        assert (failed.code, "update" in failed.out) == (1, True)
        assert printed(checkout / "bin/spack", "--version") == "1.0.0\n"
        ended = machine.run("resume")
        assert ended.code == 0, ended.err + ended.out
        assert git(checkout, "rev-parse", "HEAD") == new


def left_alone(plugin: SpackPlugin, checkout: Path, reason: str) -> None:
    """Check and step say why, and nothing moves."""
    before = git(checkout, "rev-parse", "HEAD")
    answer = asyncio.run(plugin.check())
    assert (answer.status, reason in answer.reason) == (CheckStatus.CANNOT_KNOW, True), answer
    with pytest.raises(StepError, match=reason):
        run_step(plugin, "git-pull")
    assert git(checkout, "rev-parse", "HEAD") == before


def test_a_changed_checkout_is_left_alone(plugin: SpackPlugin, upstream: Upstream, checkout: Path) -> None:
    upstream.commit()
    (checkout / "note0").write_text("mine")
    left_alone(plugin, checkout, "not committed")


def test_a_tag_is_left_alone(plugin: SpackPlugin, upstream: Upstream, checkout: Path) -> None:
    upstream.commit()
    git(checkout, "checkout", "--quiet", "--detach")
    left_alone(plugin, checkout, "no branch")


def test_a_rewritten_history_is_not_followed(plugin: SpackPlugin, upstream: Upstream, checkout: Path) -> None:
    before = git(checkout, "rev-parse", "HEAD")
    git(upstream.place, "commit", "--quiet", "--amend", "-m", "another history")
    upstream.commit()
    with pytest.raises(StepError, match="cannot be moved forward"):
        run_step(plugin, "git-pull")
    assert git(checkout, "rev-parse", "HEAD") == before


def test_another_remote_is_not_followed(checkout: Path, upstream: Upstream) -> None:
    upstream.commit()
    left_alone(SpackPlugin(PluginConfig(options={"directory": str(checkout)})), checkout, "not Spack's own")


def test_a_release_branch_is_followed(plugin: SpackPlugin, upstream: Upstream, checkout: Path) -> None:
    git(upstream.place, "checkout", "--quiet", "-b", "releases/v0.21")
    git(checkout, "fetch", "--quiet")
    git(checkout, "checkout", "--quiet", "releases/v0.21")
    assert asyncio.run(plugin.check()).status is CheckStatus.UP_TO_DATE
    new = upstream.commit(OLD_SPACK)
    assert [change.new for change in asyncio.run(plugin.check()).updates] == [new[:12]]
    run_step(plugin, "git-pull")
    assert git(checkout, "rev-parse", "HEAD") == new


def test_a_remote_that_is_gone_is_not_up_to_date(
    plugin: SpackPlugin, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.place.rename(tmp_path / "elsewhere")
    assert asyncio.run(plugin.check()).status is CheckStatus.CANNOT_KNOW


@pytest.mark.parametrize("how", ["SPACK_ROOT", "PATH", "worktree"])
def test_where_it_is_looked_for(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    assert not SpackPlugin().detect().present
    place = checkout
    if how == "PATH":
        monkeypatch.setenv("PATH", f"{checkout}/bin:{os.environ['PATH']}")
    else:
        if how == "worktree":
            place = tmp_path / "tree"
            git(checkout, "worktree", "add", "--quiet", "-b", "mine", str(place))
        monkeypatch.setenv("SPACK_ROOT", str(place))
    detection = SpackPlugin().detect()
    assert (detection.present, detection.reason) == (True, str(place))


def test_what_is_no_checkout_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "opt/bin").mkdir(parents=True)
    (tmp_path / "opt/bin/spack").touch()
    plugin = SpackPlugin(PluginConfig(options={"directory": str(tmp_path / "opt")}))
    assert "no git checkout" in plugin.detect().reason
    assert not plugin.detect().present

"""Checkouts of git are moved forward, in parallel, and never otherwise. With the real git."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.api import CheckStatus, PluginConfig
from update_all.core.models import NAME
from update_all.core.streaming import CompletionEvent, StepEndEvent, StreamEvent, WarningEvent
from update_all.plugins.git_repositories import GitRepositoriesPlugin, parse_status, step_names

Collect = Callable[[AsyncIterator[StreamEvent]], list[StreamEvent]]


def git(place: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(place), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


class Shelf:
    """A directory of checkouts, each with a remote repository beside it."""

    def __init__(self, root: Path) -> None:
        self.remotes, self.checkouts = root / "remotes", root / "src"
        self.remotes.mkdir()
        self.checkouts.mkdir()

    def add(self, name: str) -> Path:
        remote, checkout = self.remotes / f"{name}.git", self.checkouts / name
        git(self.remotes, "init", "--bare", "--initial-branch=main", str(remote))
        git(self.checkouts, "clone", str(remote), name)
        self.commit(checkout, "first")
        git(checkout, "push", "--set-upstream", "origin", "HEAD:main")
        return checkout

    def publish(self, name: str) -> str:
        """Somebody else pushes a commit; returns it."""
        other = self.remotes / "other"
        git(self.remotes, "clone", str(self.remotes / f"{name}.git"), str(other))
        commit = self.commit(other, "published")
        git(other, "push")
        other.rename(self.remotes / f"other-{name}-{commit}")
        return commit

    def commit(self, checkout: Path, text: str) -> str:
        (checkout / text).write_text(text)
        git(checkout, "add", "--all")
        git(checkout, "commit", "--message", text)
        return git(checkout, "rev-parse", "HEAD")

    def plugin(self, *paths: str) -> GitRepositoriesPlugin:
        return GitRepositoriesPlugin(PluginConfig(options={"paths": [*paths] or [f"{self.checkouts}/*"]}))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / ".gitconfig").write_text(
        "[user]\nname = Test\nemail = test@localhost\n[init]\ndefaultBranch = main\n"
    )
    return Shelf(tmp_path)


def warnings(events: list[StreamEvent]) -> dict[str, str]:
    return {event.step_name: event.message for event in events if isinstance(event, WarningEvent)}


def test_a_new_commit_is_found_and_merged(shelf: Shelf, collect: Collect) -> None:
    one, two = shelf.add("one"), shelf.add("two")
    old, new = git(one, "rev-parse", "HEAD"), shelf.publish("one")
    plugin = shelf.plugin()
    (change,) = asyncio.run(plugin.check()).updates
    assert (change.item, change.old, change.new) == ("src-one", old, new)
    assert git(one, "rev-parse", "HEAD") == old, "a check changes nothing"
    events = collect(plugin.execute_streaming())
    assert git(one, "rev-parse", "HEAD") == new
    assert warnings(events) == {}
    assert sum(isinstance(event, StepEndEvent) for event in events) == 2
    assert asyncio.run(plugin.check()).status is CheckStatus.UP_TO_DATE
    assert asyncio.run(plugin.installed_versions()) == {
        "src-one": new,
        "src-two": git(two, "rev-parse", "HEAD"),
    }


def test_commits_of_ones_own_are_no_update(shelf: Shelf, collect: Collect) -> None:
    one = shelf.add("one")
    mine = shelf.commit(one, "mine")
    assert asyncio.run(shelf.plugin().check()).status is CheckStatus.UP_TO_DATE
    assert warnings(collect(shelf.plugin().execute_streaming())) == {}
    assert git(one, "rev-parse", "HEAD") == mine


def test_what_cannot_move_forward_is_reported_and_left_alone(shelf: Shelf, collect: Collect) -> None:
    places = {name: shelf.add(name) for name in ("clean", "detached", "dirty", "diverged", "local")}
    tips = {name: shelf.publish(name) for name in places}
    (places["dirty"] / "first").write_text("changed")
    git(places["detached"], "checkout", "--detach")
    shelf.commit(places["diverged"], "mine")
    git(places["local"], "checkout", "-b", "mine")
    before = {name: git(place, "rev-parse", "HEAD") for name, place in places.items()}
    events = collect(shelf.plugin().execute_streaming())
    told = warnings(events)
    assert sorted(told) == ["src-detached", "src-dirty", "src-diverged", "src-local"]
    assert "no branch is checked out" in told["src-detached"]
    assert "not committed" in told["src-dirty"]
    assert "fast-forward" in told["src-diverged"]
    assert "no upstream" in told["src-local"]
    assert (places["dirty"] / "first").read_text() == "changed"
    after = {name: git(place, "rev-parse", "HEAD") for name, place in places.items()}
    assert after == before | {"clean": tips["clean"]}
    again = warnings(collect(shelf.plugin().execute_streaming()))
    assert "diverged: 1 commits of its own, 1 new" in again["src-diverged"]


def test_a_remote_that_is_gone_is_never_up_to_date(shelf: Shelf, collect: Collect) -> None:
    shelf.add("one")
    two = shelf.add("two")
    shelf.remotes.joinpath("one.git").rename(shelf.remotes / "gone")
    answer = asyncio.run(shelf.plugin().check())
    assert (answer.status, answer.runnable) == (CheckStatus.CANNOT_KNOW, True)
    assert "src/one" in answer.reason
    new = shelf.publish("two")
    assert [change.item for change in asyncio.run(shelf.plugin().check()).updates] == ["src-two"]
    events = collect(shelf.plugin().execute_streaming())
    assert "does not appear to be a git repository" in warnings(events)["src-one"]
    assert git(two, "rev-parse", "HEAD") == new, "the others are updated all the same"
    assert isinstance(events[-1], CompletionEvent)
    shelf.remotes.joinpath("two.git").rename(shelf.remotes / "gone-too")
    answer = asyncio.run(shelf.plugin().check())
    assert (answer.status, answer.runnable) == (CheckStatus.CANNOT_KNOW, False)


def test_only_checkouts_that_are_named_count(shelf: Shelf, tmp_path: Path) -> None:
    one = shelf.add("one")
    (shelf.checkouts / "plain").mkdir()
    (shelf.checkouts / "same").symlink_to(one)
    named = shelf.plugin("~/src/*", str(one), "src/one").get_update_steps()
    assert [step.name for step in named] == ["src-one"]
    assert not shelf.plugin("~/nowhere/*").detect().present
    assert not shelf.plugin("~no-such-user/src").detect().present
    assert not GitRepositoriesPlugin().detect().present
    wrong = GitRepositoriesPlugin(PluginConfig(options={"paths": "~/src"}))
    assert "must be a list" in wrong.detect().reason


def test_a_checkout_without_a_commit() -> None:
    checkout = parse_status("# branch.oid (initial)\n# branch.head main\n# branch.upstream origin/main\n")
    assert checkout.obstacle == "it has no commit"


@given(st.lists(st.text(st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1), unique=True))
def test_every_checkout_has_a_step_name_of_its_own(places: list[str]) -> None:
    paths = [Path("/home/me") / place for place in places]
    names = step_names(paths, Path("/home/me"))
    assert sorted(names.values()) == sorted(paths)
    assert all(NAME.fullmatch(name) for name in names)

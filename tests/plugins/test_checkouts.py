"""A move of a checkout that was cut off is finished, and what its owner changed is never lost. Real git."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from checkout_pair import NEW, OLD, TOUCHED, Pair, copied, git, put

from update_all.api import StepError
from update_all.core.queries import query
from update_all.plugins.checkouts import NOTE, Checkout, Note, Touched, parse_touched


@pytest.fixture(autouse=True)
def plain_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        pair = Pair(root)
        git(pair.place, "remote", "set-url", "origin", "../remote.git")
    return root


@pytest.fixture
def pair(template: Path, tmp_path: Path) -> Pair:
    return copied(template, tmp_path / "root")


def test_without_a_kill_it_moves_and_leaves_nothing(pair: Pair) -> None:
    pair.go_on()
    assert pair.is_new()
    pair.go_on()
    assert pair.is_new()


States = st.fixed_dictionaries({name: st.sampled_from(("old", "new", "absent", "part")) for name in TOUCHED})


@settings(max_examples=20, deadline=None)
@given(states=States, nested=st.booleans(), lock=st.booleans())
def test_wherever_it_was_cut_off_it_is_finished(
    template: Path, states: dict[str, str], nested: bool, lock: bool
) -> None:
    with TemporaryDirectory() as folder:
        pair = copied(template, Path(folder, "root"))
        pair.cut_off()
        if not lock:
            (pair.directory / "index.lock").unlink()
        for name, state in states.items():
            whole = NEW.get(name, "")
            text = {"old": OLD.get(name), "new": NEW.get(name), "part": whole[: len(whole) // 2]}.get(state)
            put(pair.place / name, None if name == "gone" and state == "part" else text)
        if nested:
            put(pair.place / "was-file/a", NEW["was-file/a"])
        assert asyncio.run(pair.checkout.mend())
        assert pair.is_new()


@settings(max_examples=15, deadline=None)
@given(states=States, mine=st.sampled_from((*TOUCHED, "same", "was-file")), lock=st.booleans())
def test_what_its_owner_changed_is_left_as_it_is(
    template: Path, states: dict[str, str], mine: str, lock: bool
) -> None:
    with TemporaryDirectory() as folder:
        pair = copied(template, Path(folder, "root"))
        pair.cut_off()
        for name, state in states.items():
            put(pair.place / name, {"old": OLD.get(name), "new": NEW.get(name)}.get(state))
        (pair.place / mine).write_text("mine\n")
        before = pair.files()
        with pytest.raises(StepError, match=f"and {mine} has been changed since"):
            asyncio.run(pair.checkout.mend())
        assert pair.files() == before
        assert not (pair.directory / "index.lock").exists(), "its owner can work"
        assert git(pair.place, "rev-parse", "HEAD") == pair.old
        assert asyncio.run(pair.checkout.interrupted())


def test_what_is_staged_is_left_as_it_is(pair: Pair) -> None:
    (pair.place / "changed").write_text(NEW["changed"])
    (pair.place / "inner/deep").write_text("mine\n")
    git(pair.place, "add", "inner/deep")
    (pair.place / "inner/deep").write_text(OLD["inner/deep"])
    pair.cut_off()
    with pytest.raises(StepError, match="inner/deep has been changed since"):
        asyncio.run(pair.checkout.mend())
    assert git(pair.place, "show", ":inner/deep") == "mine"


def test_what_its_owner_hides_from_git_is_kept(pair: Pair) -> None:
    """A way to keep local settings in a checkout: git-update-index(1), --assume-unchanged."""
    git(pair.place, "update-index", "--assume-unchanged", "same")
    (pair.place / "same").write_text("mine\n")
    pair.cut_off()
    put(pair.place / "changed", None)
    assert asyncio.run(pair.checkout.mend())
    assert git(pair.place, "rev-parse", "HEAD") == pair.new
    assert (pair.place / "same").read_text() == "mine\n"
    assert git(pair.place, "ls-files", "-v", "same") == "h same"


def test_what_is_hidden_and_touched_is_left_as_it_is(pair: Pair) -> None:
    git(pair.place, "update-index", "--assume-unchanged", "changed")
    (pair.place / "changed").write_text("mine\n")
    pair.cut_off()
    with pytest.raises(StepError, match="changed has been changed since"):
        asyncio.run(pair.checkout.mend())
    assert (pair.place / "changed").read_text() == "mine\n"


def test_a_directory_that_leads_elsewhere_is_somebodys(pair: Pair, tmp_path: Path) -> None:
    pair.cut_off()
    (pair.place / "inner").rename(tmp_path / "elsewhere")
    (pair.place / "inner").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StepError, match="inner/deep has been changed since"):
        asyncio.run(pair.checkout.mend())
    assert (tmp_path / "elsewhere/deep").exists()


@pytest.mark.parametrize("removed", ["gone", "was-file"])
def test_a_mending_that_was_cut_off_is_finished_too(pair: Pair, removed: str) -> None:
    pair.cut_off()
    (pair.directory / "index.lock").unlink()
    git(pair.place, "update-index", "--force-remove", removed)
    put(pair.place / "fresh", NEW["fresh"])
    git(pair.place, "add", "fresh")
    assert asyncio.run(pair.checkout.mend())
    assert pair.is_new()


def test_a_submodule_moves_in_the_index_only(pair: Pair) -> None:
    git(pair.place, "update-index", "--add", "--cacheinfo", f"160000,{pair.old},module")
    git(pair.place, "commit", "--quiet", "--message", "a module")
    old = git(pair.place, "rev-parse", "HEAD")
    (pair.place / "module").mkdir()
    (pair.place / "module/work").write_text("mine\n")
    git(pair.place, "update-index", "--cacheinfo", f"160000,{pair.new},module")
    git(pair.place, "commit", "--quiet", "--message", "a newer module")
    new = git(pair.place, "rev-parse", "HEAD")
    git(pair.place, "reset", "--hard", old)
    Note("refs/heads/main", old, new).write(pair.directory)
    assert asyncio.run(pair.checkout.mend())
    assert git(pair.place, "rev-parse", "HEAD") == new
    assert pair.new in git(pair.place, "ls-files", "--stage", "module")
    assert (pair.place / "module/work").read_text() == "mine\n"


def test_an_index_that_is_new_already_is_no_obstacle(pair: Pair) -> None:
    git(pair.place, "update-index", "--refresh")
    git(pair.place, "read-tree", "-m", "-u", pair.old, pair.new)
    Note("refs/heads/main", pair.old, pair.new).write(pair.directory)
    (pair.directory / "HEAD.lock").touch()
    (pair.directory / "refs/heads/main.lock").touch()
    pair.go_on()
    assert pair.is_new()


def test_a_link_in_the_place_of_a_file_is_somebodys(pair: Pair) -> None:
    pair.cut_off()
    (pair.place / "changed").unlink()
    (pair.place / "changed").symlink_to("same")
    with pytest.raises(StepError, match="changed has been changed"):
        asyncio.run(pair.checkout.mend())
    assert (pair.place / "changed").is_symlink()


def test_a_link_of_the_commits_is_ours(pair: Pair) -> None:
    (pair.place / "link").symlink_to("same")
    git(pair.place, "add", "link")
    git(pair.place, "commit", "--quiet", "--message", "a link")
    linked = git(pair.place, "rev-parse", "HEAD")
    git(pair.place, "reset", "--hard", pair.old)
    Note("refs/heads/main", pair.old, linked).write(pair.directory)
    (pair.place / "link").symlink_to("same")
    assert asyncio.run(pair.checkout.mend())
    assert git(pair.place, "rev-parse", "HEAD") == linked


def test_a_name_that_is_no_text_is_left_alone(pair: Pair) -> None:
    strange = os.fsencode(pair.place) + b"/\xff"
    Path(os.fsdecode(strange)).write_text("x")
    git(pair.place, "add", "--all")
    git(pair.place, "commit", "--quiet", "--message", "strange")
    tip = git(pair.place, "rev-parse", "HEAD")
    git(pair.place, "reset", "--hard", pair.old)
    Note("refs/heads/main", pair.old, tip).write(pair.directory)
    with pytest.raises(StepError, match="changed since"):
        asyncio.run(pair.checkout.mend())


def test_after_its_owner_has_gone_elsewhere_nothing_is_touched(pair: Pair) -> None:
    Note("refs/heads/main", pair.old, pair.new).write(pair.directory)
    git(pair.place, "commit", "--quiet", "--allow-empty", "--message", "mine")
    (pair.place / "same").write_text("mine\n")
    (pair.directory / "index.lock").touch()
    assert asyncio.run(pair.checkout.mend()) == ""
    assert (pair.place / "same").read_text() == "mine\n"
    assert (pair.directory / "index.lock").exists()
    assert not asyncio.run(pair.checkout.interrupted())


def test_a_lock_that_was_there_before_stays(pair: Pair) -> None:
    lock = pair.directory / "index.lock"
    pair.cut_off()
    os.utime(lock, (1, 1))
    with pytest.raises(StepError, match=r"index\.lock"):
        asyncio.run(pair.checkout.mend())
    assert lock.exists()
    assert git(pair.place, "rev-parse", "HEAD") == pair.old


@pytest.mark.parametrize("opened", ["index.lock", "refs/heads/main.lock"])
def test_a_lock_that_a_process_has_open_stays(pair: Pair, opened: str) -> None:
    pair.cut_off()
    waits = "import sys; file = open(sys.argv[1], 'w'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", waits, str(pair.directory / opened)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        with pytest.raises(StepError, match=f"git is at work in it: process {holder.pid}"):
            asyncio.run(pair.checkout.mend())
        assert (pair.directory / "index.lock").exists()
        holder.communicate()
    pair.go_on()
    assert pair.is_new()


def test_a_fetch_that_was_cut_off_leaves_only_locks(pair: Pair) -> None:
    Note("refs/heads/main", pair.old).write(pair.directory)
    (pair.directory / "refs/remotes/origin/main.lock").touch()
    (pair.directory / "shallow.lock").touch()
    pair.go_on()
    assert pair.is_new()


def test_a_fetch_that_fails_is_no_interruption(pair: Pair) -> None:
    pair.remote.rename(pair.remote.with_name("gone"))
    with pytest.raises(StepError, match="does not appear to be a git repository"):
        pair.go_on()
    assert not asyncio.run(pair.checkout.interrupted())


def test_a_tree_with_changes_is_not_noted_so_it_is_never_reset(pair: Pair) -> None:
    (pair.place / "changed").write_text("mine\n")
    with pytest.raises(StepError, match="overwritten"):
        pair.go_on()
    assert not asyncio.run(pair.checkout.interrupted())
    assert (pair.place / "changed").read_text() == "mine\n"


def test_a_linked_worktree_is_mended_too(pair: Pair, tmp_path: Path) -> None:
    place = tmp_path / "linked"
    git(pair.place, "worktree", "add", "--quiet", "-b", "other", "--track", str(place), "origin/main")
    git(place, "reset", "--hard", pair.old)
    directory = Path(git(place, "rev-parse", "--absolute-git-dir"))
    Note("refs/heads/other", pair.old, pair.new).write(directory)
    (directory / "index.lock").touch()
    (pair.directory / "refs/heads/other.lock").touch()
    put(place / "changed", NEW["changed"])
    assert asyncio.run(Checkout(place, query, patience=0).mend())
    assert git(place, "rev-parse", "HEAD") == pair.new
    assert git(place, "status", "--porcelain") == ""


def test_a_real_kill_in_the_middle(pair: Pair, wait_for: Callable[[Callable[[], bool]], None]) -> None:
    """Checking a file out is what moving forward consists of: a filter holds git there."""
    middle = pair.place.parent / "middle"
    held = f"[ -e {middle} ] || {{ : > {middle}; exec sleep 60; }}; cat"
    git(pair.place, "config", "filter.held.smudge", held)
    (pair.directory / "info/attributes").write_text("inner/deep filter=held\n")
    source = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from update_all.core.queries import query\nfrom update_all.plugins.checkouts import Checkout\n"
        "async def go():\n    async for _ in Checkout(Path(sys.argv[1]), query).forward(): pass\n"
        "asyncio.run(go())\n"
    )
    with subprocess.Popen([sys.executable, "-c", source, str(pair.place)], start_new_session=True) as process:
        wait_for(middle.exists)
        session = os.getsid(process.pid)
        for pid in [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]:
            if pid != os.getpid() and _session(pid) == session:
                os.kill(pid, signal.SIGKILL)
    assert (pair.directory / "index.lock").exists()
    assert not (pair.place / "inner/deep").exists()
    pair.go_on()
    assert pair.is_new()


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait


@pytest.mark.parametrize("text", ["", "one", "a b c d", "\0\xff"])
def test_a_note_that_is_none_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE).write_text(text)
    assert Note.read(tmp_path) is None


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    for note in (Note("refs/heads/a", "1"), Note("refs/heads/a", "1", "2")):
        note.write(tmp_path)
        assert Note.read(tmp_path) == note


def test_what_two_commits_differ_in() -> None:
    none = "0" * 40
    text = (
        f":100644 100644 {'a' * 40} {'b' * 40} M\0with space\0:000000 100644 {none} {'c' * 40} A\0new\0"
        f":100644 000000 {'d' * 40} {none} D\0gone\0:160000 160000 {'e' * 40} {'f' * 40} M\0module\0"
    )
    assert parse_touched(text) == [
        Touched("with space", frozenset({"a" * 40, "b" * 40}), "b" * 40),
        Touched("new", frozenset({"c" * 40}), "c" * 40),
        Touched("gone", frozenset({"d" * 40}), ""),
        Touched("module", frozenset({"e" * 40, "f" * 40}), "f" * 40, submodule=True),
    ]
    assert parse_touched("") == []

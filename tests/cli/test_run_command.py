"""`update-all run` without a terminal: what it runs, what it leaves out, and its exit codes."""

from __future__ import annotations

import pytest
from cli_machine import Ended, Machine

ONE, TWO, THREE = (
    {"name": "one"},
    {"name": "two", "depends-on": ["one"]},
    {"name": "three", "depends-on": ["two"]},
)
CONFIRMED = ("--yes", "--progress", "plain")


def listed(ended: Ended) -> list[str]:
    """The commands that a dry run lists, without the tool's name."""
    lines = [line.strip() for line in ended.out.splitlines()]
    return [line.removeprefix("note ") for line in lines if line.startswith("note ")]


def test_without_a_terminal_the_plan_is_shown_and_not_run(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    ended = machine.run("run")
    assert ended.code == 4
    assert "alpha" in ended.out
    assert "1 plugin, 1 step" in ended.out
    assert "--yes" in ended.err
    assert machine.ledger == []


def test_an_answer_on_standard_input_is_no_consent(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    assert machine.run("run", stdin="y\n").code == 4
    assert machine.ledger == []


def test_yes_runs_and_sums_up(machine: Machine) -> None:
    machine.plugin("alpha", ONE, TWO)
    ended = machine.run("run", *CONFIRMED)
    assert (ended.code, ended.err) == (0, "")
    assert machine.ledger == ["alpha one", "alpha two"]
    assert "alpha: done" in ended.out
    assert "Done in" in ended.out


def test_confirm_never_needs_no_yes(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    assert machine.run("run", env={"UPDATE_ALL_CONFIRM": "never"}).code == 0
    assert machine.ledger == ["alpha one"]


def test_nothing_to_do_needs_no_consent(machine: Machine) -> None:
    machine.tool("lister", "exit 0")
    query = {"cmd": ["lister"], "regex": "^(?P<item>\\S+) (?P<old>\\S+) (?P<new>\\S+)$"}
    machine.plugin("alpha", ONE, outdated=query)
    ended = machine.run("run")
    assert (ended.code, ended.err) == (0, "")
    assert "up to date" in ended.out.lower() or "nothing to do" in ended.out.lower()
    assert machine.ledger == []


def test_what_changed_is_shown_with_both_versions(machine: Machine) -> None:
    machine.tool("lister", f"cat {machine.root}/versions")
    (machine.root / "versions").write_text("jq 1.6\n")
    machine.tool("upgrade", f"echo jq 1.7 > {machine.root}/versions")
    machine.tool("outdated", f"grep -q 1.6 {machine.root}/versions && echo jq 1.6 1.7; exit 0")
    machine.plugin(
        "alpha",
        {"name": "up", "cmd": ["upgrade"]},
        installed={"cmd": ["lister"], "regex": "^(?P<item>\\S+) (?P<version>\\S+)$"},
        outdated={"cmd": ["outdated"], "regex": "^(?P<item>\\S+) (?P<old>\\S+) (?P<new>\\S+)$"},
    )
    first = machine.run("run", *CONFIRMED)
    assert first.code == 0
    assert first.out.count("jq") >= 2
    assert "1.6 → 1.7" in first.out
    second = machine.run("run", *CONFIRMED)
    assert second.code == 0
    assert "1.7" not in second.out


def test_a_failed_step_fails_the_run_and_the_others_go_on(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one", "cmd": ["sh", "-c", "echo broken; exit 7"]}, TWO)
    machine.plugin("beta", ONE)
    ended = machine.run("run", *CONFIRMED)
    assert ended.code == 1
    assert machine.ledger == ["beta one"]
    assert "update-all resume" in ended.out


def test_fail_fast_starts_nothing_new(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one", "cmd": ["false"]})
    machine.plugin("beta", ONE)
    assert machine.run("run", "--fail-fast", "--jobs", "1", *CONFIRMED).code == 1
    assert machine.ledger == []
    assert machine.run("run", "--jobs", "1", *CONFIRMED).code == 1
    assert machine.ledger == ["beta one"]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("-x", "beta"), {"alpha", "gamma"}),
        (("-x", "@lang"), {"alpha"}),
        (("--exclude", "alpha", "-x", "beta"), {"gamma"}),
        (("alpha", "beta"), {"alpha", "beta"}),
        (("--plugin", "alpha", "--plugin", "gamma"), {"alpha", "gamma"}),
        (("alpha", "--plugin", "gamma"), {"alpha", "gamma"}),
        (("@lang",), {"beta", "gamma"}),
        (("@lang", "alpha"), {"alpha", "beta", "gamma"}),
        (("@lang", "-x", "gamma"), {"beta"}),
        (("@lang", "-x", "@slow"), {"beta"}),
    ],
)
def test_names_tags_and_exclusions_select(
    machine: Machine, arguments: tuple[str, ...], wanted: set[str]
) -> None:
    machine.plugin("alpha", ONE)
    machine.plugin("beta", ONE, tags=["lang"])
    machine.plugin("gamma", ONE, tags=["lang", "slow"])
    assert machine.run("run", *arguments, *CONFIRMED).code == 0
    assert {line.split()[0] for line in machine.ledger} == wanted


@pytest.mark.parametrize(
    "arguments", [("delta",), ("--plugin", "delta"), ("-x", "delta"), ("alpha", "delta")]
)
@pytest.mark.parametrize("command", ["run", "check", "plan"])
def test_an_unknown_plugin_is_named_with_the_nearest(
    machine: Machine, command: str, arguments: tuple[str, ...]
) -> None:
    machine.plugin("delta1", ONE)
    machine.plugin("alpha", ONE)
    ended = machine.run(command, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "'delta'" in ended.err
    assert "did you mean delta1?" in ended.err
    assert machine.ledger == []


def test_an_unknown_tag_is_named_with_the_nearest(machine: Machine) -> None:
    machine.plugin("alpha", ONE, tags=["language"])
    ended = machine.run("run", "@langage", "--yes")
    assert (ended.code, ended.out) == (2, "")
    assert "@language" in ended.err


def test_a_plugin_that_is_named_and_not_here_is_an_error(machine: Machine) -> None:
    machine.plugin("alpha", ONE)
    machine.plugin("ghost", ONE, detect="no-such-tool")
    ended = machine.run("run", "alpha", "ghost", "--yes")
    assert (ended.code, ended.out) == (2, "")
    assert "no-such-tool is not on PATH" in ended.err
    assert machine.ledger == []
    assert machine.run("run", "--yes").code == 0


@pytest.mark.parametrize(
    "arguments",
    [(), ("alpha",), ("--download-only",), ("alpha", "--resume-from", "two", "--force"), ("-x", "beta")],
)
def test_a_dry_run_lists_what_a_run_executes(machine: Machine, arguments: tuple[str, ...]) -> None:
    machine.plugin(
        "alpha",
        {"name": "one", "phase": "download"},
        TWO,
        {**THREE, "cmds": [["note", "3", "a b"], ["note", "4"]]} | {"cmd": None},
    )
    machine.plugin("beta", ONE)
    dry = machine.run("run", "--dry-run", *arguments)
    assert (dry.code, dry.err) == (0, "")
    assert "Nothing was run." in dry.out
    assert machine.ledger == []
    assert machine.tree() == set()
    assert machine.run("run", *arguments, *CONFIRMED).code == 0
    assert sorted(line.replace("'", "") for line in listed(dry)) == sorted(machine.ledger)


def test_a_dry_run_as_json_is_the_plan(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one", "phase": "download"}, TWO)
    plugins = machine.run("run", "-n", "--download-only", "--json").json["plugins"]
    assert isinstance(plugins, list)
    assert isinstance(plugins[0], dict)
    steps = plugins[0]["steps"]
    assert isinstance(steps, list)
    assert [(step["commands"], bool(step["left_out"])) for step in steps if isinstance(step, dict)] == [
        (["note alpha one"], False),
        ([], True),
    ]


def test_a_dry_run_knows_what_is_not_due_and_what_asks(machine: Machine) -> None:
    machine.plugin("alpha", {**ONE, "interval": "7d"}, {"name": "asks", "interactive": True}, TWO)
    first = machine.run("run", "--dry-run")
    assert listed(first) == ["alpha one", "alpha two"]
    assert "asks questions" in first.out
    assert machine.run("run", *CONFIRMED).code == 0
    assert machine.ledger == ["alpha one", "alpha two"]
    before = machine.tree()
    second = machine.run("run", "--dry-run")
    assert listed(second) == ["alpha two"]
    assert "left out: not due before" in second.out
    # SQLite's own bookkeeping of who reads; the database itself is opened read-only.
    assert machine.tree() - {f"state/update-all/history.db-{end}" for end in ("wal", "shm")} == before
    assert machine.run("run", *CONFIRMED).code == 0
    assert machine.ledger == ["alpha one", "alpha two", "alpha two"]


def test_start_at_a_step(machine: Machine) -> None:
    machine.plugin("alpha", ONE, TWO, THREE)
    for dry in ((), ("--dry-run",)):
        refused = machine.run("run", "alpha", "--resume-from", "three", "--yes", *dry)
        assert (refused.code, refused.out) == (2, "")
        assert "one, two" in refused.err
        assert "--force" in refused.err
    assert machine.ledger == []
    assert machine.run("run", "--plugin", "alpha", "--resume-from", "three", "--force", "--yes").code == 0
    assert machine.ledger == ["alpha three"]


def test_start_at_a_step_behind_what_is_done(machine: Machine) -> None:
    machine.plugin("alpha", ONE, {**TWO, "cmd": ["sh", "-c", f"test -e {machine.root}/mended"]}, THREE)
    assert machine.run("run", "--yes").code == 1
    (machine.root / "mended").touch()
    assert machine.run("run", "alpha", "--resume-from", "two", "--yes").code == 0
    assert machine.ledger == ["alpha one", "alpha three"]
    assert "complete" in machine.run("status").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--resume-from", "one"), "exactly one plugin"),
        (("alpha", "beta", "--resume-from", "one"), "exactly one plugin"),
        (("@lang", "--resume-from", "one"), "exactly one plugin"),
        (("alpha", "--resume-from", "tow"), "did you mean two?"),
        (("--force",), "--resume-from"),
    ],
)
def test_a_start_that_cannot_be(machine: Machine, arguments: tuple[str, ...], told: str) -> None:
    machine.plugin("alpha", ONE, TWO, tags=["lang"])
    machine.plugin("beta", ONE)
    ended = machine.run("run", "--yes", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert machine.ledger == []


def test_an_unknown_step_loses_nothing_of_an_unfinished_run(machine: Machine) -> None:
    machine.plugin("alpha", ONE, {**TWO, "cmd": ["sh", "-c", f"test -e {machine.root}/mended"]})
    assert machine.run("run", "--yes").code == 1
    before = machine.run("status").out
    assert machine.run("run", "alpha", "--resume-from", "nosuch", "--yes").code == 2
    assert machine.run("status").out == before


def test_download_only_and_then_resume(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one", "phase": "download"}, TWO, THREE)
    machine.plugin("beta", ONE)
    assert machine.run("run", "--download-only", *CONFIRMED).code == 0
    assert machine.ledger == ["alpha one"]
    assert machine.run("resume", "--progress", "plain").code == 0
    assert sorted(machine.ledger) == ["alpha one", "alpha three", "alpha two", "beta one"]
    assert machine.run("resume").out.startswith("nothing to resume")


def test_a_plain_run_without_a_terminal_does_the_work_of_an_unfinished_one(machine: Machine) -> None:
    machine.plugin("alpha", ONE, {**TWO, "cmd": ["sh", "-c", f"test -e {machine.root}/mended"]})
    machine.plugin("beta", ONE)
    assert machine.run("run", "--yes").code == 1
    (machine.root / "mended").touch()
    second = machine.run("run", "--yes")
    assert second.code == 0
    assert second.err == "", "it leaves nothing to tell of"
    assert machine.ledger.count("alpha one") == 2, "without a terminal it starts afresh"
    assert machine.run("run", "--yes").err == ""


def test_jobs_limit_what_runs_at_the_same_time(machine: Machine) -> None:
    script = (
        f"mkdir {machine.root}/busy.$1 && ls -d {machine.root}/busy.* | wc -l >> {machine.root}/seen;"
        f" sleep 0.2; rmdir {machine.root}/busy.$1"
    )
    machine.tool("busy", script)
    for name in ("a", "b", "c", "d"):
        machine.plugin(name, {"name": "one", "cmd": ["busy", name]})
    assert machine.run("run", "--jobs", "1", *CONFIRMED).code == 0
    assert set((machine.root / "seen").read_text().split()) == {"1"}
    (machine.root / "seen").unlink()
    assert machine.run("run", "--jobs", "4", *CONFIRMED).code == 0
    assert max(map(int, (machine.root / "seen").read_text().split())) > 1


def test_plugins_wait_for_each_other(machine: Machine) -> None:
    machine.plugin("alpha", ONE, after=["omega"])
    machine.plugin("zeta", ONE, before=["omega"])
    machine.plugin("omega", ONE)
    assert machine.run("run", *CONFIRMED).code == 0
    assert machine.ledger == ["zeta one", "omega one", "alpha one"]

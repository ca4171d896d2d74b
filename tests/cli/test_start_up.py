"""What every command line program must get right before it does anything: help, names, start-up."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_machine import Machine

from update_all import __version__
from update_all.cli.main import COMMANDS

HEAVY = {
    *("asyncio", "argparse", "httpx2", "httpcore2", "tomlkit", "tomllib", "rich", "msgspec", "sqlite3"),
    *("update_all.plugins", "update_all.core", "update_all.ui", "update_all.downloads"),
}

FLAGS = {
    "run": (
        "--dry-run --yes --plugin --exclude --resume-from --force --download-only --jobs --fail-fast --wait"
        " --no-input --json --color --progress"
    ),
    "check": "--plugin --exclude --json --color",
    "plan": "--plugin --exclude --json --graphviz --exit-code",
    "resume": (
        "--redo --assume-done --strict --allow-downgrade --jobs --fail-fast --wait --no-input --json"
        " --progress"
    ),
    "status": "--json",
    "history": "--json --limit --color",
    "attach": "--progress --color",
    "plugins": "list check new show enable disable",
    "config": "show path edit set",
}


@pytest.mark.parametrize("option", ["--version", "--help", "-V", "-h"])
def test_version_and_help_import_nothing_heavy(option: str) -> None:
    code = (
        "import sys; from update_all.cli.main import main; code = main([sys.argv[1]]);"
        " print(*sys.modules, sep='\\n', file=sys.stderr); sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, option], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0
    assert HEAVY.isdisjoint(ended.stderr.splitlines())
    assert "update-all" in ended.stdout


def test_version(machine: Machine) -> None:
    assert machine.run("--version").out == f"update-all {__version__}\n"


def test_the_overview_names_every_command(machine: Machine) -> None:
    shown = machine.run("--help").out
    assert all(f"  {name} " in shown and text in shown for name, text in COMMANDS.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_names_its_options(machine: Machine, command: str) -> None:
    ended = machine.run(command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"usage: update-all {command} ")
    assert [flag for flag in FLAGS.get(command, "").split() if flag not in ended.out] == []


def test_every_command_that_is_known_here_exists() -> None:
    assert FLAGS.keys() <= COMMANDS.keys()


@pytest.mark.parametrize("command", ["run", "check", "plan", "status"])
def test_the_help_of_a_command_loads_no_plugin_and_no_network(command: str) -> None:
    code = f"import sys, update_all.cli.{command} as c; print(*sys.modules, sep='\\n')"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(ended.stdout.splitlines())
    assert loaded.isdisjoint({"httpx2", "tomlkit", "rich", "sqlite3"})
    assert not {name for name in loaded if name in ("update_all.plugins.apt", "update_all.plugins.npm")}


def test_nothing_but_options_means_run(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    assert machine.run("--yes").code == 0
    assert machine.ledger == ["alpha one"]


def test_a_plugin_alone_means_run(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    machine.plugin("beta", {"name": "one"})
    assert machine.run("beta", "--yes").code == 0
    assert machine.ledger == ["beta one"]


@pytest.mark.parametrize(("typed", "meant"), [("chek", "check"), ("statsu", "status"), ("resmue", "resume")])
def test_a_mistyped_command_names_the_nearest(machine: Machine, typed: str, meant: str) -> None:
    ended = machine.run(typed)
    assert (ended.code, ended.out) == (2, "")
    assert f"update-all {meant}" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--nosuch"),
        ("run", "--jobs", "0"),
        ("run", "--jobs", "many"),
        ("run", "--jobs", "-1"),
        ("run", "--progress", "fancy"),
        ("run", "--color", "pink"),
        ("run", "--dry"),
        ("history", "--limit", "0"),
        ("check", "--yes"),
        ("plugins", "show"),
        ("plugins", "nosuch"),
        ("config", "set", "jobs"),
    ],
)
def test_wrong_options_are_wrong_use(machine: Machine, arguments: tuple[str, ...]) -> None:
    ended = machine.run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "usage: update-all" in ended.err
    assert "error: " in ended.err
    assert machine.tree() == set()


def test_a_bug_of_ours_names_a_report_file(machine: Machine) -> None:
    (machine.root / "site/sitecustomize.py").write_text(
        "import update_all.cli.status as status\n"
        "def run(options): raise ZeroDivisionError('the secret of hunter2-hunter2')\n"
        "status.run = run\n"
    )
    ended = machine.run("status", env={"GITHUB_TOKEN": "hunter2-hunter2"})
    assert (ended.code, ended.out) == (3, "")
    assert "Traceback" not in ended.err
    (report,) = machine.state.glob("bug-*.txt")
    assert str(report) in ended.err
    text = report.read_text()
    assert "ZeroDivisionError" in text
    assert __version__ in text
    assert "hunter2-hunter2" not in text + ended.err


def test_closed_standard_streams_are_no_bug(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        argv = ["sh", "-c", f'exec "$@" {closed}', "sh", *machine.argv(["run", "--yes"])]
        ended = subprocess.run(argv, env=machine.env, capture_output=True, timeout=60, check=False)
        assert ended.returncode == 0, (closed, ended)
    assert machine.ledger == ["alpha one"] * 4


def test_output_that_cannot_be_written_is_an_error(machine: Machine) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        ended = subprocess.run(
            machine.argv(["--help"]),
            env=machine.env,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert b"No space left" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_a_command_behind_options_is_no_plugin(machine: Machine) -> None:
    ended = machine.run("--yes", "check")
    assert (ended.code, ended.out) == (2, "")
    assert "update-all check" in ended.err


def test_nothing_that_is_enabled_is_nothing_to_do(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    ended = machine.run("run", "-x", "alpha")
    assert ended.code == 0
    assert machine.ledger == []

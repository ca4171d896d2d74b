"""What is not on this machine: counted for a person, listed for a program, named where it was wanted."""

from __future__ import annotations

import pytest
from cli_machine import Machine

from update_all.cli.dry_run import dry_run_lines
from update_all.cli.planned import Planned

ONE = {"name": "one"}


@pytest.fixture
def bare(machine: Machine) -> Machine:
    """A machine with no tools but its own, where every known plugin may take part."""
    machine.plugin("alpha", ONE)
    machine.plugin("ghost", ONE, detect="no-such-tool")
    machine.plugin("spectre", ONE, detect="no-such-tool")
    machine.env["PATH"] = str(machine.root / "bin")
    machine.config_file.write_text("")
    return machine


def told(machine: Machine, *arguments: str) -> list[str]:
    """The lines of a dry run about what is not here."""
    ended = machine.run("run", "--dry-run", *arguments)
    assert ended.code == 0, ended
    assert "note alpha one" in ended.out
    return [line for line in ended.out.splitlines() if "not here" in line]


def test_a_dry_run_counts_what_is_not_here(bare: Machine) -> None:
    absent = bare.run("run", "--dry-run", "--json").json["not_here"]
    assert isinstance(absent, dict)
    assert {"ghost", "spectre", "pacman"} <= absent.keys()
    assert told(bare) == [f"{len(absent)} plugins are not here: update-all plugins list says why"]


@pytest.mark.parametrize(
    "setting", ["[plugin.ghost]\nenabled = true", 'plugins.enabled = ["alpha", "ghost"]']
)
def test_what_is_enabled_by_name_keeps_its_line(bare: Machine, setting: str) -> None:
    bare.config_file.write_text(setting + "\n")
    first, *rest = told(bare)
    assert first == "ghost: not here: no-such-tool is not on PATH"
    assert [" more plugins are not here" in line for line in rest] == ([] if "alpha" in setting else [True])


def test_a_setting_that_does_not_enable_a_plugin_does_not_name_it(bare: Machine) -> None:
    bare.config_file.write_text("[plugin.ghost]\ntimeout_seconds = 5\n")
    assert len(told(bare)) == 1


def test_the_commands_before_the_question_are_counted_too(bare: Machine) -> None:
    child = bare.terminal("run")
    child.expect_exact("[c]ommands")
    child.sendline("c")
    child.expect(r"\d+ plugins are not here: update-all plugins list says why")
    assert "spectre" not in str(child.before)
    child.expect_exact("[c]ommands")
    child.sendline("n")


def test_one_is_no_plural() -> None:
    planned = Planned(absent={"a": "x"})
    assert dry_run_lines(planned, {}, "")[0] == "1 plugin is not here: update-all plugins list says why"
    planned = Planned(absent={"a": "x", "b": "y"}, missed=frozenset({"a"}))
    assert dry_run_lines(planned, {}, "")[:2] == [
        "a: not here: x",
        "1 more plugin is not here: update-all plugins list says why",
    ]
    assert dry_run_lines(Planned(), {}, "") == ["Nothing was run."]

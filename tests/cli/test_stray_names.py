"""A name that no plugin has is told of, wherever it is configured, by the commands that look for plugins."""

from __future__ import annotations

import pytest
from cli_machine import Ended, Machine

STRAY = "\n[plugin.alhpa]\nenabled = false\n"


@pytest.fixture
def mistaken(machine: Machine) -> Machine:
    """A machine whose user wanted to switch `alpha` off."""
    machine.plugin("alpha", {"name": "one"})
    with machine.config_file.open("a") as file:
        file.write(STRAY)
    return machine


def line_of(machine: Machine) -> int:
    return machine.config_file.read_text().splitlines().index("[plugin.alhpa]") + 1


def without(machine: Machine, *arguments: str) -> Ended:
    """What the command says without the section."""
    text = machine.config_file.read_text()
    machine.config_file.write_text(text.replace(STRAY, ""))
    try:
        return machine.run(*arguments)
    finally:
        machine.config_file.write_text(text)


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--dry-run"),
        ("run", "--dry-run", "--json"),
        ("check",),
        ("check", "--json"),
        ("plan",),
        ("plugins",),
        ("plugins", "list", "--json"),
        ("plugins", "show", "alpha"),
        ("explain", "alpha"),
        ("sudoers",),
        ("rollback", "alpha"),
    ],
    ids=" ".join,
)
def test_it_is_a_warning_and_changes_nothing(mistaken: Machine, command: tuple[str, ...]) -> None:
    ended, wanted = mistaken.run(*command), without(mistaken, *command)
    assert (ended.code, ended.out) == (wanted.code, wanted.out)
    assert ended.err == (
        f"update-all: {mistaken.config_file}:{line_of(mistaken)}: [plugin.alhpa] has no effect:"
        " there is no plugin 'alhpa'\n  did you mean [plugin.alpha]? mend it with: update-all config edit\n"
        + wanted.err
    )


def test_a_run_and_its_resume_say_it_once_each(mistaken: Machine) -> None:
    mistaken.tool("note", f"test -e {mistaken.root}/mended")
    failed = mistaken.run("run", "--yes")
    assert (failed.code, failed.err.count("[plugin.alhpa]")) == (1, 1)
    (mistaken.root / "mended").touch()
    resumed = mistaken.run("resume")
    assert (resumed.code, resumed.err.count("[plugin.alhpa]")) == (0, 1)


@pytest.mark.parametrize("command", ["status", "history", "config", "resume"])
def test_who_looks_for_no_plugins_looks_for_none_for_this(mistaken: Machine, command: str) -> None:
    assert mistaken.run("run", "--yes").code == 0
    ended = mistaken.run(command)
    assert (ended.code, ended.err) == (0, "")


def test_where_no_name_is_near_all_are_offered(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    machine.config("[plugin.qqqqqqqqq]\n[plugin.alpha]\n[plugin.xxxxxxxxx]\ncolor = 1\n")
    told = machine.run("plugins", "show", "alpha").err
    assert told.count("update-all plugins list") == 2
    assert "did you mean" not in told
    assert f"{machine.config_file}:3: [plugin.xxxxxxxxx]" in told


def test_a_section_of_another_file_is_mended_there(mistaken: Machine) -> None:
    mistaken.config()
    drop_in = mistaken.config_file.parent / "config.d/50-mine.toml"
    drop_in.parent.mkdir()
    drop_in.write_text("# mine\nplugin.alhpa.timeout_seconds = 5\n")
    told = mistaken.run("plugins", "show", "alpha").err
    assert f"{drop_in}:2: [plugin.alhpa] has no effect" in told
    assert f"did you mean [plugin.alpha]? mend it in {drop_in}\n" in told
    assert "config edit" not in told


def test_what_exists_in_any_way_is_no_mistake(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    machine.plugin("broken", text="schema = 1\n")
    machine.plugin("absent", {"name": "one"}, detect="no-such-tool")
    machine.python_plugin("foreign", "from update_all.api import BasePlugin\nclass Plugin(BasePlugin): ...\n")
    known = ("alpha", "broken", "absent", "foreign", "apt")
    machine.config("".join(f"[plugin.{name}]\nenabled = true\n" for name in known))
    assert machine.run("plugins", "show", "alpha").err == ""


def test_the_doctor_finds_it_and_calls_nothing_fine_that_is_not(mistaken: Machine) -> None:
    ended, wanted = mistaken.run("doctor"), without(mistaken, "doctor")
    assert ended.code == wanted.code
    assert "[plugin.alhpa] has no effect" in ended.out
    assert "update-all config edit" in ended.out
    assert "every key is known" not in ended.out
    assert "every key is known" in wanted.out
    assert ended.err == wanted.err


@pytest.mark.parametrize("key", ["plugins.enabled", "plugins.order", "exclude", "downloads.allow_unverified"])
def test_a_list_that_names_no_plugin_is_told_of_with_its_place(machine: Machine, key: str) -> None:
    machine.plugin("alpha", {"name": "one"})
    machine.config(f'# mine\n{key} = ["alpha", "alhpa", "apt"]\n')
    assert machine.run("plugins", "show", "alpha").err == (
        f"update-all: {machine.config_file}:2: {key} names 'alhpa', which is no plugin\n"
        "  did you mean 'alpha'? mend it with: update-all config edit\n"
    )


def test_a_name_from_a_variable_is_mended_there(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    told = machine.run("plugins", "show", "alpha", env={"UPDATE_ALL_EXCLUDE": "alhpa"}).err
    assert "UPDATE_ALL_EXCLUDE: exclude names 'alhpa', which is no plugin\n" in told
    assert told.endswith("mend it in the environment\n")


def test_a_tag_is_no_name(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    machine.config('exclude = ["@python"]\n')
    assert machine.run("plugins", "show", "alpha").err == ""

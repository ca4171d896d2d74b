"""Options of `[plugin.NAME]`: what a plugin knows is shown with its value, anything else is refused."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator

import pytest
from cli_machine import Machine

from update_all.plugins.base import BasePlugin
from update_all.plugins.builtin import BUILT_IN
from update_all.plugins.registry import discover
from update_all.plugins.sources import SearchPaths
from update_all.plugins.template import new_executable

IN_PYTHON = sorted(name for name, place in BUILT_IN.items() if not place.endswith(".toml"))


@pytest.fixture
def optioned(machine: Machine) -> Machine:
    """`alpha` is a definition; the tool of `go-runtime` is in the directory that is configured."""
    machine.plugin("alpha", {"name": "one"})
    (machine.root / "go").mkdir()
    return machine


def configure(machine: Machine, plugin: str, *lines: str) -> None:
    enabled = '[plugins]\nenabled = ["alpha", "go-runtime"]\n'
    machine.config("\n".join([f"{enabled}[plugin.{plugin}]", *lines]) + "\n")


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--yes"),
        ("run", "go-runtime", "--dry-run"),
        ("check",),
        ("plan",),
        ("plugins", "show", "go-runtime"),
        ("explain", "go-runtime"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("written", ["alow_downgrade", "allow-downgrade"])
def test_a_misspelt_option_stops_the_command(
    optioned: Machine, command: tuple[str, ...], written: str
) -> None:
    configure(optioned, "go-runtime", f'directory = "{optioned.root}/go"', f"{written} = true")
    ended = optioned.run(*command)
    assert (ended.code, ended.out) == (2, "")
    assert f"{optioned.config_file}:5: unknown key plugin.go-runtime.{written}" in ended.err
    assert "did you mean plugin.go-runtime.allow_downgrade?" in ended.err
    assert optioned.ledger == []


def test_the_doctor_says_so_and_goes_on(optioned: Machine) -> None:
    configure(optioned, "alpha", "color = 1")
    found = optioned.run("doctor").out
    assert "unknown key plugin.alpha.color" in found
    assert "history" in found


def test_a_definition_takes_none_and_an_executable_takes_any(optioned: Machine) -> None:
    configure(optioned, "alpha", "color = 1")
    ended = optioned.run("check", "alpha")
    assert ended.code == 2
    assert "update-all plugins show alpha" in ended.err
    path = optioned.config_file.parent / "plugins.d/spoken"
    path.write_text(new_executable("spoken"))
    path.chmod(0o700)
    configure(optioned, "spoken", "color = 1")
    assert optioned.run("plugins", "show", "spoken").code == 0


def test_what_every_plugin_has_is_no_option_of_its_own(optioned: Machine) -> None:
    configure(optioned, "alpha", "enabled = true", "timeout_seconds = 60")
    assert optioned.run("run", "alpha", "--yes").code == 0


@pytest.mark.parametrize("command", [("plugins", "show"), ("explain",)], ids=" ".join)
def test_options_are_shown_with_meaning_and_value(optioned: Machine, command: tuple[str, ...]) -> None:
    configure(optioned, "git-repositories", 'paths = ["~/src/*"]')
    shown = optioned.run(*command, "go-runtime")
    assert (shown.code, shown.err) == (0, "")
    assert "option allow_downgrade: accept a version older than" in shown.out
    listed = optioned.run(*command, "git-repositories").out
    assert 'option paths = ["~/src/*"]: ' in listed
    assert "  option " not in optioned.run(*command, "alpha").out


def test_a_downgrade_is_allowed_to_what_can_make_one(optioned: Machine) -> None:
    ended = optioned.run("run", "alpha", "--allow-downgrade", "--yes")
    assert (ended.code, optioned.ledger) == (2, [])
    assert "--allow-downgrade means nothing to alpha" in ended.err
    assert optioned.run("run", "--allow-downgrade", "--yes").code == 0
    assert optioned.ledger == ["alpha one"]


OLDER = """
from update_all.api import BasePlugin, StepError, UpdateStep
class Plugin(BasePlugin):
    name, command, options = 'older', 'note', {'allow_downgrade': 'go back'}
    def get_update_steps(self):
        return [UpdateStep('fetch', 'Fetch what is older', execute_fn=self.fetch)]
    async def fetch(self):
        if not self.config.options.get('allow_downgrade'):
            raise StepError('it is older')
        return
        yield
"""


def test_a_resume_allows_a_downgrade_as_a_run_does(optioned: Machine) -> None:
    optioned.python_plugin("older", OLDER)
    optioned.plugin("beta", {"name": "one", "cmd": ["false"]})
    assert optioned.run("run", "--yes").code == 1
    assert optioned.run("resume", "older").code == 1
    refused = optioned.run("resume", "beta", "--allow-downgrade")
    assert (refused.code, refused.out) == (2, "")
    assert "--allow-downgrade means nothing to beta" in refused.err
    assert optioned.run("resume", "older", "--allow-downgrade").code == 0
    assert optioned.run("resume", "older").out == "nothing to resume: no run was left unfinished\n"


def test_a_resume_of_all_gives_the_permission_to_all(optioned: Machine) -> None:
    optioned.python_plugin("older", OLDER)
    assert optioned.run("run", "--yes").code == 1
    assert optioned.run("resume", "--allow-downgrade").code == 0
    ended = optioned.run("resume", "--allow-downgrade")
    assert (ended.code, ended.err) == (0, "")


def options_read(plugin: BasePlugin) -> Iterator[str]:
    """The names of options that the class of a plugin and its bases ask for."""
    for cls in type(plugin).__mro__:
        if not cls.__module__.startswith("update_all."):
            continue
        for node in ast.walk(ast.parse(inspect.getsource(sys.modules[cls.__module__]))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            asked = ast.unparse(node.func).rpartition("self.")[2]
            if asked in ("config.options.get", "option", "_flag") and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)


@pytest.mark.parametrize("name", IN_PYTHON)
def test_every_option_that_is_read_is_declared(name: str) -> None:
    plugin = discover(SearchPaths()).load(name)
    assert plugin.options is not None
    assert set(options_read(plugin)) <= set(plugin.options)
    assert all(meaning.strip() for meaning in plugin.options.values())

"""`plugins list` says the same whether or not anything is configured, kept or imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_machine import Machine

from update_all.plugins.template import new_executable


def rows(machine: Machine, **env: str) -> dict[str, dict[str, object]]:
    listed = machine.run("plugins", "list", "--json", env=env).json["plugins"]
    assert isinstance(listed, list)
    return {str(row["name"]): dict(row) for row in listed if isinstance(row, dict)}


@pytest.fixture
def unconfigured(machine: Machine) -> Machine:
    machine.plugin("alpha", {"name": "one", "sudo": True})
    machine.plugin("absent", {"name": "one"}, detect="nosuch")
    machine.plugin("optional", {"name": "one"}, enabled=False)
    path = machine.root / "config/update-all/plugins.d/spoken"
    path.write_text(new_executable("spoken"))
    path.chmod(0o700)
    (machine.root / "config/update-all/config.toml").unlink()
    return machine


def test_what_is_seen_from_afar(unconfigured: Machine) -> None:
    found = rows(unconfigured)
    assert (found["alpha"]["status"], found["alpha"]["root"]) == ("present", "root")
    assert (found["absent"]["status"], found["absent"]["why"]) == ("not here", "nosuch is not on PATH")
    assert found["optional"]["status"] == "disabled"
    assert found["spoken"]["defined"] == "user executable"


def test_a_configuration_of_defaults_changes_nothing(unconfigured: Machine) -> None:
    without = rows(unconfigured)
    assert rows(unconfigured) == without
    assert rows(unconfigured, UPDATE_ALL_JOBS="4") == without
    (unconfigured.root / "config/update-all/config.toml").write_text("jobs = 4\n")
    assert rows(unconfigured) == without


def test_a_configuration_counts(unconfigured: Machine) -> None:
    text = 'exclude = ["alpha"]\n[plugin.optional]\nenabled = true\n'
    (unconfigured.root / "config/update-all/config.toml").write_text(text)
    found = rows(unconfigured)
    assert (found["alpha"]["status"], found["optional"]["status"]) == ("disabled", "present")
    (unconfigured.root / "config/update-all/config.toml").unlink()
    drop_in = unconfigured.root / "config/update-all/config.d/one.toml"
    drop_in.parent.mkdir()
    drop_in.write_text(text)
    assert rows(unconfigured) == found


def test_a_wrong_variable_is_an_error(unconfigured: Machine) -> None:
    ended = unconfigured.run("plugins", "list", env={"UPDATE_ALL_NOSUCH": "1"})
    assert (ended.code, ended.out) == (2, "")


def test_the_reason_comes_before_the_place(unconfigured: Machine) -> None:
    """A line that is too long loses its end: the path."""
    broken = unconfigured.plugin("broken", text="schema = 1\n")
    overriding = unconfigured.plugin("apt", {"name": "one"})
    found = rows(unconfigured)
    why = str(found["broken"]["why"])
    assert (found["broken"]["status"], why.startswith("$")) == ("broken", True)
    assert why.endswith(f"; in {broken}")
    assert found["apt"]["why"] == f"overrides built-in; {unconfigured.root}/bin/note"
    assert "built-in (" in str(found["apt"]["overrides"])
    assert found["apt"]["place"] == str(overriding)


def test_the_table_is_the_same_in_any_encoding(unconfigured: Machine) -> None:
    plain = unconfigured.run("plugins", "list").out
    ascii_only = unconfigured.run("plugins", "list", env={"PYTHONIOENCODING": "ascii"}).out
    assert ascii_only.isascii()
    first = [line.split()[:2] for line in plain.splitlines()]
    assert first == [line.split()[:2] for line in ascii_only.splitlines()]
    assert max(map(len, plain.splitlines())) <= 160


def test_a_listing_imports_neither_schema_nor_plugin(unconfigured: Machine) -> None:
    rows(unconfigured)
    code = "import sys; from update_all.cli.main import main; main(['plugins', 'list']); print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**unconfigured.env, "PATH": str(unconfigured.root / "bin")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    heavy = {"asyncio", "msgspec", "tomllib", "dataclasses", "update_all.api", "update_all.core.models"}
    assert heavy.isdisjoint(ended.stdout.splitlines()[-1].split())

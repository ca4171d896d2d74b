"""A plugin that is not enabled by default takes part where somebody says so, and only there."""

from __future__ import annotations

import json

import pytest
from cli_machine import Machine

from update_all.plugins.builtin import BUILT_IN

ONE = {"name": "one"}
NO_BUILT_IN = f"exclude = {json.dumps(sorted(BUILT_IN))}\n"


@pytest.fixture
def optional(machine: Machine) -> Machine:
    """`alpha` is enabled by default, `beta` is not."""
    machine.plugin("alpha", ONE)
    machine.plugin("beta", ONE, enabled=False)
    machine.config(NO_BUILT_IN)
    return machine


def test_it_takes_no_part_in_a_plain_run(optional: Machine) -> None:
    assert optional.run("run", "--yes").code == 0
    assert optional.ledger == ["alpha one"]
    rows = {line.split()[0]: line for line in optional.run("plugins", "list").out.splitlines()}
    assert "disabled" in rows["beta"]
    assert "disabled" not in rows["alpha"]


def test_who_names_it_wants_it(optional: Machine) -> None:
    assert optional.run("run", "beta", "--yes").code == 0
    assert optional.ledger == ["beta one"]


@pytest.mark.parametrize(
    "text",
    [f"{NO_BUILT_IN}[plugin.beta]\nenabled = true\n", '[plugins]\nenabled = ["alpha", "beta"]\n'],
)
def test_the_configuration_enables_it(optional: Machine, text: str) -> None:
    optional.config(text)
    assert optional.run("run", "--yes").code == 0
    assert sorted(optional.ledger) == ["alpha one", "beta one"]


def test_other_settings_do_not_enable_it(optional: Machine) -> None:
    optional.config(f"{NO_BUILT_IN}[plugin.beta]\ntimeout_seconds = 5\n")
    assert optional.run("run", "--yes").code == 0
    assert optional.ledger == ["alpha one"]


def test_what_a_run_has_parsed_is_kept(optional: Machine) -> None:
    assert optional.run("check").code == 0
    kept = optional.root / "cache/update-all/plugins.msgpack"
    first = kept.read_bytes()
    assert b"The beta" in first
    assert optional.run("check").code == 0
    assert kept.read_bytes() == first


def test_a_command_enables_it(optional: Machine) -> None:
    assert optional.run("plugins", "enable", "beta").code == 0
    assert optional.run("run", "--yes").code == 0
    assert sorted(optional.ledger) == ["alpha one", "beta one"]

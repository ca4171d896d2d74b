"""What an unfinished run was about to do is told to the next check, until a run ends well."""

from __future__ import annotations

from pathlib import Path

import pytest
from release_steps import machine_at

from update_all.core.models import Change, UpdateCommand
from update_all.plugins.base import BasePlugin

OUTDATED = {"cmd": ["outdated"], "regex": r"^(?P<item>\S+) (?P<old>\S+) (?P<new>\S+)$"}


class Alpha(BasePlugin):
    """Asks for the state of the plugin of that name, however it is written."""

    name = "alpha"
    command = "true"

    def get_update_commands(self, dry_run: bool = False) -> list[UpdateCommand]:
        return [UpdateCommand(["true"])]


def test_it_is_known_from_the_failure_to_the_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with machine_at(tmp_path) as machine:
        machine.tool("outdated", "echo jq 1.6 1.7")
        machine.tool("work", f"test -e {tmp_path}/mended")
        machine.plugin("alpha", {"name": "one", "cmd": ["work"]}, outdated=OUTDATED)
        for name, value in machine.env.items():
            monkeypatch.setenv(name, value)
        assert Alpha().get_unfinished_check() is None
        assert machine.run("run", "alpha", "--yes").code == 1
        found = Alpha().get_unfinished_check()
        assert found is not None
        assert found.updates == (Change("jq", "1.6", "1.7"),)
        (tmp_path / "mended").touch()
        assert machine.run("run", "alpha", "--yes").code == 0
        assert Alpha().get_unfinished_check() is None

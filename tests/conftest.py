"""What all tests share: nothing of the user's environment, all writing below pytest's own directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from update_all.core.models import UpdateStep
from update_all.plugins.base import BasePlugin

KEPT = ("PATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SYSTEMROOT")
KEPT_PREFIXES = ("PYTHON", "PYTEST", "COV", "HYPOTHESIS", "UPDATE_ALL_TEST")
"""What the test tools themselves need, and the settings of the slower tiers."""


@pytest.fixture(autouse=True)
def private_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory and XDG directories of the test's own; the home directory."""
    for name in list(os.environ):
        if name not in KEPT and not name.startswith(KEPT_PREFIXES):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    for name, directory in (("STATE", "state"), ("CONFIG", "config"), ("CACHE", "cache"), ("DATA", "data")):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / directory))
    return home


class StepPlugin(BasePlugin):
    """A plugin that is given its steps."""

    def __init__(
        self,
        steps: Sequence[UpdateStep],
        name: str = "demo",
        parallel: bool = False,
        dependencies: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.steps = list(steps)
        self.parallel_steps = parallel
        self._name = name
        self._dependencies = dependencies

    @property
    def name(self) -> str:
        return self._name

    @property
    def command(self) -> str:
        return "true"

    @property
    def dependencies(self) -> Sequence[str]:
        return self._dependencies

    def get_update_steps(self) -> list[UpdateStep]:
        return self.steps


@pytest.fixture
def plugin_of() -> Callable[..., BasePlugin]:
    """Makes a plugin of steps: `plugin_of(steps, name="demo", parallel=False, dependencies=())`."""
    return StepPlugin

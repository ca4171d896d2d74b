"""The machine on which the tests of the command line run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_machine import Machine, machine_at


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A home of the test's own, with the tool `note` on PATH and no plugins."""
    with machine_at(tmp_path) as made:
        yield made

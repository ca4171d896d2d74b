"""What several tests of the engine stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from update_all.core.paths import Directories


@pytest.fixture
def home(tmp_path: Path) -> Directories:
    system, user = tmp_path / "etc", tmp_path / "config"
    for directory in (system, user, user / "config.d"):
        directory.mkdir()
    return Directories(tmp_path / "state", user, tmp_path / "cache", system)

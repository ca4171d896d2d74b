"""`config set`: one key changes, everything else in the file stays."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from configured import EXAMPLE, write
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.config import config_set, load_config
from update_all.core.errors import ConfigError
from update_all.core.paths import Directories


@pytest.mark.parametrize(
    ("before", "key", "text", "after"),
    [
        ("", "jobs", "8", "jobs = 8\n"),
        ("# mine\njobs = 4 # four\n", "jobs", "8", "# mine\njobs = 8 # four\n"),
        ("[network]\n# few\ndownloads = 2\n", "network.downloads", "3", "[network]\n# few\ndownloads = 3\n"),
        ("[network]\n", "sudo.keepalive", "no", "[network]\n[sudo]\nkeepalive = false\n"),
        ("jobs = 'bad'\n", "jobs", "2", "jobs = 2\n"),
        ("", "plugin.apt.enabled", "false", "[plugin.apt]\nenabled = false\n"),
        ("", "plugin.apt.mode", "full upgrade", '[plugin.apt]\nmode = "full upgrade"\n'),
        ("", "plugin.apt.keep", "[1, 2]", "[plugin.apt]\nkeep = [1, 2]\n"),
        ("", "exclude", "a,b", 'exclude = ["a", "b"]\n'),
        ("", "limits.network", "2", "[limits]\nnetwork = 2\n"),
    ],
)
def test_config_set_changes_one_key_and_keeps_the_rest(
    home: Directories, before: str, key: str, text: str, after: str
) -> None:
    path = write(home.config / "config.toml", before)
    config_set(path, key, text)
    assert [line for line in path.read_text().splitlines() if line] == after.splitlines()
    assert load_config(home, environ={}).origin(key).startswith(str(path))


def test_config_set_puts_a_top_level_key_before_the_tables(home: Directories) -> None:
    path = write(home.config / "config.toml", EXAMPLE)
    before = load_config(home, environ={}).config
    config_set(path, "keep_runs", "7")
    loaded = load_config(home, environ={})
    assert loaded.config == dataclasses.replace(before, keep_runs=7)


@pytest.mark.parametrize(
    ("key", "text"), [("jobs", "0"), ("jbos", "1"), ("network", "1"), ("plugin.apt", "1")]
)
def test_config_set_refuses_and_writes_nothing(home: Directories, key: str, text: str) -> None:
    path = write(home.config / "config.toml", EXAMPLE)
    with pytest.raises(ConfigError):
        config_set(path, key, text)
    assert path.read_text() == EXAMPLE


def test_config_set_makes_the_file_and_follows_the_users_link(home: Directories, tmp_path: Path) -> None:
    path = home.config / "deeper" / "config.toml"
    config_set(path, "jobs", "2")
    assert path.stat().st_mode & 0o777 == 0o600
    real = write(tmp_path / "dotfiles.toml", "# kept\n")
    real.chmod(0o644)
    link = home.config / "config.toml"
    link.symlink_to(real)
    config_set(link, "jobs", "3")
    assert link.is_symlink()
    assert real.read_text() == "# kept\njobs = 3\n"
    assert real.stat().st_mode & 0o777 == 0o644


@given(
    order=st.permutations(EXAMPLE.split("\n[")[1:]),
    change=st.sampled_from(
        [("jobs", "9"), ("network.downloads", "9"), ("limits.x", "9"), ("plugin.q.r", "9")]
    ),
)
def test_config_set_in_any_file_changes_that_key_only(
    order: list[str], change: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("set")
    nowhere = directory / "nowhere"
    home = Directories(nowhere, directory, nowhere, nowhere)
    path = write(directory / "config.toml", "\n[".join(["jobs = 1", *order]))
    before = {setting.key: setting.value for setting in load_config(home, environ={}).settings()}
    config_set(path, *change)
    after = {setting.key: setting.value for setting in load_config(home, environ={}).settings()}
    assert after == {**before, change[0]: 9}

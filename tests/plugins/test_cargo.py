"""What the cargo plugin reads, and what it would run."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.api import Change, CheckResult, CheckStatus, JsonValue, PluginConfig, StepError
from update_all.plugins.cargo import CargoPlugin, Crate, parse_additions, parse_crates

INDEX = "registry+https://git.example.invalid/rust-lang/crates.io-index"

# cargo 1.95.0, `cargo add --dry-run ua-lab-tool ua-lab-feat`, on stderr.
ADDED = """\
    Updating `lab` index
      Adding ua-lab-tool v1.1.0 to dependencies
             Features:
             - fancy
      Adding ua-lab-feat v2.0.0 to dependencies
             Features:
             - fancy
warning: aborting add due to dry run
"""


def entry(**fields: JsonValue) -> dict[str, JsonValue]:
    """An installation as cargo 1.95.0 records it."""
    return {
        "version_req": None,
        "bins": ["ua-lab-tool"],
        "features": [],
        "all_features": False,
        "no_default_features": False,
        "profile": "release",
        "target": "x86_64-unknown-linux-gnu",
        "rustc": "rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n",
        **fields,
    }


def recorded(**installs: dict[str, JsonValue]) -> str:
    return json.dumps({"installs": {f"{name} 1.0.0 ({INDEX})": value for name, value in installs.items()}})


def test_installed_crate() -> None:
    assert parse_crates(recorded(tool=entry())) == [Crate("tool", "1.0.0", ())]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"features": ["a", "b/c"]}, ("--features", "a,b/c")),
        ({"all_features": True}, ("--all-features",)),
        ({"no_default_features": True}, ("--no-default-features",)),
        ({"profile": "dist"}, ("--profile", "dist")),
        ({"target": "x86_64-unknown-linux-musl"}, ("--target", "x86_64-unknown-linux-musl")),
        ({"rustc": None}, ()),
    ],
)
def test_recorded_choices_are_kept(fields: dict[str, JsonValue], options: tuple[str, ...]) -> None:
    assert parse_crates(recorded(tool=entry(**fields)))[0].options == options


def test_crate_of_a_wished_version_is_left_alone() -> None:
    assert parse_crates(recorded(tool=entry(version_req="=1.0.0"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "git+https://git.example.invalid/tool#0123abc",
        "path+file:///home/lab/tool",
        "registry+https://git.example.invalid/company/index",
        "sparse+https://index.example.invalid/",
    ],
)
def test_crates_from_elsewhere_are_left_alone(source: str) -> None:
    assert parse_crates(json.dumps({"installs": {f"tool 1.0.0 ({source})": entry()}})) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"installs": []}', "\0"])
def test_garbage_is_no_answer(text: str) -> None:
    with pytest.raises(StepError):
        parse_crates(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_a_step_error(text: str) -> None:
    parse_additions(text)
    with contextlib.suppress(StepError):
        assert not parse_crates(text)


def test_newest_versions_of_an_index() -> None:
    assert parse_additions(ADDED) == {"ua-lab-tool": "1.1.0", "ua-lab-feat": "2.0.0"}


@pytest.fixture
def cargo_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CARGO_INSTALL_ROOT", raising=False)
    monkeypatch.setenv("CARGO_HOME", str(tmp_path))
    return tmp_path


def test_builds_keep_features_and_name_no_version(cargo_home: Path) -> None:
    (cargo_home / ".crates2.json").write_text(recorded(tool=entry(features=["fancy"])))
    check = CheckResult.of([Change("tool", "1.0.0", "2.0.0")])
    (step,) = asyncio.run(CargoPlugin().plan_steps(check))
    (command,) = step.commands or []
    assert command.cmd == ["cargo", "install", "--locked", "--features", "fancy", "tool"]
    assert command.timeout_seconds is None
    assert step.timeout_seconds is None
    unlocked = CargoPlugin(PluginConfig(options={"locked": False}))
    (step,) = asyncio.run(unlocked.plan_steps(check))
    assert "--locked" not in (step.commands or [])[0].cmd


def test_nothing_outdated_plans_nothing(cargo_home: Path) -> None:
    assert asyncio.run(CargoPlugin().plan_steps(CheckResult.of([]))) == []


def test_damaged_record_is_never_up_to_date(cargo_home: Path) -> None:
    (cargo_home / ".crates2.json").write_text('{"installs": {"tool')
    assert asyncio.run(CargoPlugin().check()).status is CheckStatus.CANNOT_KNOW


def test_install_root_of_the_environment_is_read(
    cargo_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / ".crates2.json").write_text(recorded(tool=entry()))
    monkeypatch.setenv("CARGO_INSTALL_ROOT", str(root))
    assert asyncio.run(CargoPlugin().installed_versions()) == {"tool": "1.0.0"}


def test_compilers_are_updated_before_programs_are_built() -> None:
    assert "rustup" in CargoPlugin().dependencies

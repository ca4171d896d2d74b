"""What the pip plugin decides, and what it would run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from update_all.api import Change, CheckResult, StepError
from update_all.plugins.pip import PipPlugin, parse_environment

USER = {
    "managed": False,
    "virtual": False,
    "pip": True,
    "site": "/home/lab/.local/lib/python3.11/site-packages",
}


def test_user_site_of_an_environment_that_is_ours() -> None:
    environment = parse_environment(json.dumps(USER))
    assert environment.site == Path(str(USER["site"]))
    assert environment.reason == ""


@pytest.mark.parametrize(
    ("difference", "reason"),
    [
        ({"managed": True}, "PEP 668"),
        ({"virtual": True}, "virtual environment"),
        ({"pip": False}, "no pip"),
        ({"site": None}, "no user site"),
    ],
)
def test_environments_that_are_not_ours(difference: dict[str, object], reason: str) -> None:
    environment = parse_environment(json.dumps({**USER, **difference}))
    assert environment.site is None
    assert reason in environment.reason


@pytest.mark.parametrize("text", ["", "[]", "pyenv: python3: command not found"])
def test_garbage_is_no_answer(text: str) -> None:
    with pytest.raises(StepError):
        parse_environment(text)


def make_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, managed: bool) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib/python3.12").mkdir(parents=True)
    (tmp_path / "bin/python3.12").write_text("#!/bin/sh\n")
    (tmp_path / "bin/python3.12").chmod(0o755)
    (tmp_path / "bin/python3").symlink_to("python3.12")
    if managed:
        (tmp_path / "lib/python3.12/EXTERNALLY-MANAGED").touch()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.parametrize("managed", [True, False])
def test_detection_tells_from_files_whose_python_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, managed: bool
) -> None:
    make_python(tmp_path, monkeypatch, managed=managed)
    assert PipPlugin().detect().present is not managed


def test_no_python_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not PipPlugin().detect().present


def test_all_names_go_into_one_resolution_and_never_past_the_distribution() -> None:
    check = CheckResult.of([Change("one", "1.0", "2.0"), Change("lost", None, "3.0")])
    install, sweep = asyncio.run(PipPlugin().plan_steps(check))
    (command,) = install.commands or []
    assert command.cmd[:5] == ["python3", "-m", "pip", "install", "--user"]
    assert command.cmd[-2:] == ["one", "lost"]
    assert "--break-system-packages" not in command.cmd
    assert not command.sudo
    assert sweep.depends_on == ["install"]
    assert asyncio.run(PipPlugin().plan_steps(CheckResult.of([]))) == []

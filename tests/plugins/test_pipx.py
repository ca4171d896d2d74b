"""What the pipx plugin reads, and what it would run."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.api import Change, CheckResult, JsonValue, StepError
from update_all.plugins.pipx import PipxPlugin, parse_environments

VENV = "/home/lab/.local/share/pipx/venvs/ua-lab-main"


def metadata(**main: JsonValue) -> dict[str, JsonValue]:
    """An environment as pipx 1.18.4 writes it, shortened; `main` overrides fields of the main package."""
    return {
        "backend": "pip",
        "environment": "ua-lab-main",
        "injected_packages": {},
        "main_package": {
            "app_paths": [{"__Path__": f"{VENV}/bin/ua-lab-main", "__type__": "Path"}],
            "package": "ua-lab-main",
            "package_or_url": "ua-lab-main",
            "package_version": "1.0",
            "pinned": False,
            "pip_args": [],
            "suffix": "",
            **main,
        },
        "pipx_metadata_version": "0.12",
    }


def listing(**venvs: JsonValue) -> str:
    return json.dumps(
        {"pipx_spec_version": "0.1", "venvs": {name: {"metadata": value} for name, value in venvs.items()}}
    )


def test_environment_with_what_was_injected() -> None:
    value = metadata()
    value["injected_packages"] = {
        "Ua.Extra": {"package": "Ua.Extra", "package_or_url": "ua-extra", "pinned": False},
        "held": {"package": "held", "package_or_url": "held", "pinned": True},
    }
    (environment,) = parse_environments(listing(tool=value))
    assert environment.packages == {"ua-lab-main": "tool", "ua-extra": "tool/ua-extra"}
    assert environment.folder == Path(VENV)
    assert not environment.uv


def test_old_releases_have_neither_pins_nor_back_ends() -> None:
    value = metadata()
    del value["backend"]
    main = value["main_package"]
    assert isinstance(main, dict)
    del main["pinned"]
    (environment,) = parse_environments(listing(tool=value))
    assert not environment.uv


@pytest.mark.parametrize(
    "source", ["ua-lab-main", "ua-lab-main==1.0", "ua-lab-main[a,b]", "ua_lab>=1,<2", "black[d] ~= 22.1"]
)
def test_requirements_come_from_an_index(source: str) -> None:
    assert len(parse_environments(listing(tool=metadata(package_or_url=source)))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "git+https://git.example.invalid/tool.git",
        "https://files.example.invalid/tool.whl",
        "/home/lab/tool",
        "./tool",
        "tool @ https://files.example.invalid/tool.whl",
    ],
)
def test_other_sources_are_left_alone(source: str) -> None:
    assert parse_environments(listing(tool=metadata(package_or_url=source))) == []


def test_pinned_application_is_left_alone() -> None:
    assert parse_environments(listing(tool=metadata(pinned=True))) == []


def test_the_index_an_application_came_from_is_asked() -> None:
    arguments: list[JsonValue] = [
        "--no-deps",
        "--index-url",
        "http://127.0.0.1:1/simple",
        "-f=wheels",
        "--pre",
    ]
    (environment,) = parse_environments(listing(tool=metadata(pip_args=arguments)))
    assert environment.index_options == ("--index-url", "http://127.0.0.1:1/simple", "-f=wheels", "--pre")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"venvs": []}', "nothing has been installed with pipx"])
def test_garbage_is_no_answer(text: str) -> None:
    with pytest.raises(StepError):
        parse_environments(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(json_values, json_values)
def test_damaged_metadata_is_left_out(value: JsonValue, main: JsonValue) -> None:
    with contextlib.suppress(StepError):
        assert parse_environments(listing(tool=value, other={"main_package": main})) == []


def test_each_environment_has_one_command() -> None:
    changes = [Change("a", "1", "2"), Change("a/extra", "1", "2"), Change("b", None, "2")]
    (step,) = asyncio.run(PipxPlugin().plan_steps(CheckResult.of(changes)))
    commands = [command.cmd for command in step.commands or ()]
    assert commands == [["pipx", "upgrade", "--include-injected", name] for name in ("a", "b")]
    assert asyncio.run(PipxPlugin().plan_steps(CheckResult.of([]))) == []

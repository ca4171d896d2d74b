"""What the go-binaries plugin reads, and what it would run.

`go` itself is a script that prints what go 1.19.8 printed with a module proxy in a directory: the real one
needs half a gigabyte.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.api import Change, CheckResult, CheckStatus, StepError
from update_all.plugins.go_binaries import (
    GoBinariesPlugin,
    Program,
    parse_folder,
    parse_newest,
    parse_programs,
)

# go 1.19.8, `go version -m DIRECTORY`, some settings left out.
HELLO = """\
/home/lab/go/bin/k2hello: go1.19.8
\tpath\texample.org/k2hello/cmd/k2hello
\tmod\texample.org/k2hello\tv1.0.0\th1:5H9e5G2hFWJ10vcsBiM1lB6I3KFCpio0zXAorjD/DEU=
\tbuild\t-compiler=gc
\tbuild\t-tags=x
\tbuild\tCGO_ENABLED=1
"""
LOCAL = """\
/home/lab/go/bin/local: go1.19.8
\tpath\texample.org/local
\tmod\texample.org/local\t(devel)\t
\tbuild\t-compiler=gc
"""
# The documentation of the go command, "Build and test caching" and release notes of 1.24: a version from the
# tags of the checkout, with its `vcs` settings.
STAMPED = """\
/home/lab/go/bin/stamped: go1.24.1
\tpath\texample.org/stamped
\tmod\texample.org/stamped\tv1.2.3\t
\tbuild\tvcs=git
\tbuild\tvcs.modified=false
"""
NEWEST = json.dumps({"Path": "example.org/k2hello", "Version": "v1.1.0", "Query": "latest"}, indent="\t")
GONE = "module example.org/none: reading https://proxy.example.org/none/@v/list: 404 Not Found"
OFFLINE = (
    'module example.org/k2hello: Get "http://127.0.0.1:9/example.org/k2hello/@v/list": '
    "dial tcp 127.0.0.1:9: connect: connection refused"
)


def failed(reason: str) -> str:
    """The entry of a module that go cannot look up, as `go list -m -e -json` prints it."""
    return json.dumps(
        {"Path": "example.org/none", "Version": "latest", "Error": {"Err": reason}}, indent="\t"
    )


def test_programs_with_their_build_options() -> None:
    hello = Program("example.org/k2hello/cmd/k2hello", "example.org/k2hello", "v1.0.0", ("-tags=x",))
    assert parse_programs(HELLO) == [hello]
    assert parse_programs(LOCAL + HELLO + STAMPED) == [hello]


@pytest.mark.parametrize("package", ["-o/etc/passwd", "../evil", "a b", ""])
def test_a_package_that_would_be_an_option_is_left_out(package: str) -> None:
    assert parse_programs(HELLO.replace("example.org/k2hello/cmd/k2hello", package)) == []


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert all(program.version.startswith("v") for program in parse_programs(text))


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("/opt/bin\n/home/lab/go\n", "/opt/bin"),
        ("\n/home/lab/go\n", "/home/lab/go/bin"),
        ("\n/a:/b\n", "/a/bin"),
    ],
)
def test_directory_of_programs(text: str, folder: str) -> None:
    assert parse_folder(text) == Path(folder)


@pytest.mark.parametrize("text", ["", "\n", "\n\n", "relative\n/go\n", "/a\n/b\n/c\n"])
def test_no_directory_is_no_answer(text: str) -> None:
    with pytest.raises(StepError, match="no directory"):
        parse_folder(text)


def test_newest_versions() -> None:
    assert parse_newest("", []) == {}
    answer = f"{NEWEST}\n{failed(GONE)}\n{NEWEST}"
    assert parse_newest(answer, ["example.org/k2hello", "example.org/none"]) == {
        "example.org/k2hello": "v1.1.0"
    }


@pytest.mark.parametrize("text", ["", failed(OFFLINE), failed(""), "[]", "{}", "{", "go: no", NEWEST + "x"])
def test_what_is_not_understood_is_no_answer(text: str) -> None:
    with pytest.raises(StepError):
        parse_newest(text, ["example.org/k2hello"])


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose files `version` and `list` are the answers of the script that stands for go."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "go"
    script.write_text(
        f"#!/bin/sh\ncase $1 in env) printf '%s\\n' '' {tmp_path};; *) cat {tmp_path}/$1;; esac\n", "utf-8"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "version").write_text(LOCAL + HELLO, "utf-8")
    (tmp_path / "list").write_text(NEWEST, "utf-8")
    return tmp_path


def test_check_and_plan(go: Path) -> None:
    plugin = GoBinariesPlugin()
    update = Change("example.org/k2hello/cmd/k2hello", "v1.0.0", "v1.1.0")
    check = asyncio.run(plugin.check())
    assert check == CheckResult.of([update])
    (step,) = asyncio.run(plugin.plan_steps(check))
    assert [command.cmd for command in step.commands or []] == [
        ["go", "install", "-tags=x", "example.org/k2hello/cmd/k2hello@v1.1.0"]
    ]
    assert asyncio.run(plugin.installed_versions()) == {update.item: "v1.0.0"}


@pytest.mark.parametrize("newest", ["v1.0.0", "v0.9.0", "v1.0.0-rc.1"])
def test_up_to_date(go: Path, newest: str) -> None:
    (go / "list").write_text(NEWEST.replace("v1.1.0", newest), "utf-8")
    check = asyncio.run(GoBinariesPlugin().check())
    assert check.status is CheckStatus.UP_TO_DATE
    assert asyncio.run(GoBinariesPlugin().plan_steps(check)) == []


def test_an_index_that_does_not_answer_is_not_up_to_date(go: Path) -> None:
    (go / "list").write_text(failed(OFFLINE), "utf-8")
    check = asyncio.run(GoBinariesPlugin().check())
    assert check.status is CheckStatus.CANNOT_KNOW
    assert "connection refused" in check.reason
    (go / "list").unlink()
    check = asyncio.run(GoBinariesPlugin().check())
    assert (check.status, check.runnable) == (CheckStatus.CANNOT_KNOW, False)


def test_no_directory_of_programs_is_up_to_date(go: Path) -> None:
    (go / "bin").rmdir()
    assert asyncio.run(GoBinariesPlugin().check()).status is CheckStatus.UP_TO_DATE

"""The sudoers drop-in: what real sudo makes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from update_all.core.errors import InvalidDefinitionError
from update_all.core.sudoers import refusal, sudoers_lines

VISUDO = shutil.which("visudo", path="/usr/sbin:/sbin:/usr/bin")
needs_visudo = pytest.mark.skipif(VISUDO is None, reason="visudo is not installed")

COMMANDS = [
    [
        "/usr/bin/apt-get",
        "-y",
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "DPkg::Lock::Timeout=600",
        "update",
    ],
    ["/usr/bin/dpkg", "--configure", "-a"],
    ["/usr/bin/snap"],
    ["/opt/my tool/bin/x", "a b", "c,d", "e\\f", "#g", "*", "[a-z]?", "!h", "^.*$", '"', "'", "é", "~", "%"],
]


def check(text: str, path: Path) -> None:
    path.write_text(text)
    path.chmod(0o440)
    done = subprocess.run([VISUDO or "visudo", "-cf", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, (text, done.stdout, done.stderr)


def test_each_command_is_allowed_with_exactly_its_arguments() -> None:
    text = sudoers_lines("ann", [["/usr/bin/apt-get", "update"], ["/usr/bin/snap"], ["/usr/bin/snap"]])
    assert text.splitlines()[1:] == [
        "ann ALL=(root) NOPASSWD: /usr/bin/apt-get update",
        'ann ALL=(root) NOPASSWD: /usr/bin/snap ""',
    ]


@needs_visudo
def test_visudo_accepts_it(tmp_path: Path) -> None:
    check(sudoers_lines("ann", COMMANDS), tmp_path / "drop-in")
    check(sudoers_lines("ann.b-c_1$", []), tmp_path / "empty")


SIGNS = st.text(st.sampled_from("a-*?[]!^$,:=#\\ \"'%@~{}()|&;<>`é/."), max_size=8)
ARGUMENTS = st.lists(SIGNS.filter(lambda text: refusal(["/usr/bin/true", text]) is None), max_size=4)


@needs_visudo
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=ARGUMENTS)
def test_visudo_accepts_any_arguments(arguments: list[str], tmp_path: Path) -> None:
    check(sudoers_lines("ann", [["/usr/bin/true", *arguments]]), tmp_path / "drop-in")


@pytest.mark.parametrize(
    "program",
    [
        "sh",
        "bash",
        "dash",
        "zsh",
        "fish",
        "busybox",
        "rm",
        "mv",
        "cp",
        "tee",
        "env",
        "sudo",
        "python3.11",
        "perl",
    ],
)
def test_what_runs_or_changes_anything_is_refused(program: str) -> None:
    assert refusal([f"/usr/bin/{program}", "x"])
    with pytest.raises(InvalidDefinitionError, match=program):
        sudoers_lines("ann", [["/usr/bin/true"], [f"/usr/bin/{program}", "x"]])


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["apt-get"],
        ["./x"],
        ["/usr/bin/"],
        ["/usr/../bin/x"],
        ["/usr//bin/x"],
        ["/usr/bin/x", "a\nb ALL=ALL"],
        ["/usr/bin/x", ""],
        ["/usr/bin/x", "a", " "],
        ["/usr/bin/x", '""'],
    ],
)
def test_what_is_no_exact_command_is_refused(command: list[str]) -> None:
    with pytest.raises(InvalidDefinitionError):
        sudoers_lines("ann", [command])


@pytest.mark.parametrize(
    "program", ["apt-get", "dnf", "refresh", "push", "pacman", "fwupdmgr", "environment"]
)
def test_other_programs_are_not_refused_for_their_names(program: str) -> None:
    assert refusal([f"/usr/bin/{program}"]) is None


@pytest.mark.parametrize("user", ["", "ALL", "ADMINS", "%wheel", "#0", "a b", "a,b", "a\nb", "+net", "a=b"])
def test_what_is_no_user_is_refused(user: str) -> None:
    with pytest.raises(InvalidDefinitionError, match="user"):
        sudoers_lines(user, [["/usr/bin/true"]])


@needs_visudo
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a private /etc/sudoers")
@pytest.mark.parametrize(
    ("allowed", "asked", "answer"),
    [
        (["a"], ["a"], True),
        (["a"], [], False),
        (["a"], ["a", "b"], False),
        ([], [], True),
        ([], ["a"], False),
        (["*"], ["*"], True),
        (["*"], ["x"], False),
        (["a?"], ["ab"], False),
        (["[ab]"], ["a"], False),
        (["[ab]"], ["[ab]"], True),
        (["^.*$"], ["^.*$"], True),
        (["^.*$"], ["anything"], False),
        (["a\\b"], ["a\\b"], True),
        (["a\\*"], ["a\\*"], True),
        (["a\\*"], ["a*"], False),
        (["Dpkg::Options::=--x,y"], ["Dpkg::Options::=--x,y"], True),
        (["!a", "#b", "c d"], ["!a", "#b", "c d"], True),
        (["a"], ["é"], False),
        (["a  b", "\\"], ["a  b", "\\"], True),
        (["a  b"], ["a b"], False),
        (["é", '"', "'"], ["é", '"', "'"], True),
    ],
)
def test_real_sudo_allows_that_and_nothing_else(
    tmp_path: Path, allowed: list[str], asked: list[str], answer: bool
) -> None:
    """`sudo -l` in a private mount namespace; the machine's own accounts and rules stay untouched."""
    (tmp_path / "passwd").write_text("root:x:0:0::/:/bin/sh\nann:x:54321:54321::/:/bin/sh\n")
    (tmp_path / "group").write_text("root:x:0:\nann:x:54321:\n")
    check(sudoers_lines("ann", [["/usr/bin/true", *allowed]]), tmp_path / "sudoers")
    binds = " && ".join(f'mount --bind "$1/{name}" /etc/{name}' for name in ("passwd", "group", "sudoers"))
    script = f'{binds} && shift && exec sudo -n -l -U ann -- /usr/bin/true "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), *asked],
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) is answer, (done.stdout, done.stderr)

"""Completions and manual page: in step with the parsers, and accepted by the real shells."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from cli_machine import Machine

from update_all.cli.completion import FILES, script
from update_all.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="needs the repository")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    pytest.importorskip("shtab")
    spec = importlib.util.spec_from_file_location("generate", ROOT / "tools/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_shipped_is_what_the_parsers_say(generate: ModuleType) -> None:
    for path, text in generate.generated().items():
        shipped = (ROOT / path).read_text("utf-8")
        assert shipped == text, f"{path} is out of date: python tools/generate.py"


@pytest.mark.parametrize("shell", FILES)
def test_the_command_prints_the_script(machine: Machine, shell: str) -> None:
    assert machine.run("completion", shell).out == script(shell)


def test_another_shell_is_wrong_use(machine: Machine) -> None:
    assert machine.run("completion", "tcsh").code == 2


@pytest.mark.parametrize("shell", FILES)
def test_the_shell_can_read_its_script(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / FILES[shell]
    path.write_text(script(shell))
    subprocess.run([program, "-n", str(path)], check=True)


def completed(*words: str) -> list[str]:
    """What bash offers for the last of the words."""
    program = """
    source "$1"; shift
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    read -r -a how <<< "$(complete -p update-all)"
    for ((i = 0; i < ${#how[@]}; i++)); do [ "${how[i]}" = -F ] && "${how[i + 1]}"; done
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    path = ROOT / "src/update_all/completions/update-all.bash"
    done = subprocess.run(
        ["bash", "-c", program, "bash", str(path), *words], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_and_choices() -> None:
    assert set(completed("update-all", "")) >= set(COMMANDS)
    assert completed("update-all", "expl") == ["explain"]
    assert completed("update-all", "run", "--dry") == ["--dry-run"]
    assert set(completed("update-all", "run", "--progress", "")) >= {"live", "plain", "jsonl"}
    assert set(completed("update-all", "plugins", "")) >= {
        "list",
        "show",
        "check",
        "new",
        "enable",
        "disable",
    }


def test_the_manual_page_formats_without_a_warning_and_names_every_command() -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    path = ROOT / "docs/man/update-all.1"
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-P", "cat", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    # Bold and underlined letters come with escape sequences, or are struck twice.
    text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert all(f"update-all {name}" in text for name in COMMANDS)
    assert "--resume-from STEP" in text

"""Twenty-five secrets, each planted where it would come out: none is in a file or a line of the program.

They are in the environment, in addresses, headers, arguments, on both outputs, in exceptions and answers, cut
in the middle, coloured, quoted and encoded. A second test switches the redaction off: then each comes out.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cli_machine import Machine, machine_at

from update_all.cli.bug_report import write_bug_report

ENVIRONMENT = {
    "NPM_CONFIG_TOKEN": "stdout-Quai7ohv",
    "MY_SECRET": "stderr-Ohsh4uqu",
    "DB_PASSWORD": "quoted/ie2&Joo+Ch",
    "API_KEY": "base64-Eex0eeng",
    "BASIC_AUTH": "basic-auth-Aeg9phoo",
    "CUT_TOKEN": "cut-in-two-Xahgh8ae",
    "CUT_PASSWORD": "cut-in-three-Moh3quee",
    "COLOUR_TOKEN": "coloured-Aich6ooz",
    "ARGUMENT_TOKEN": "argument-Rie5ahsh",
    "EXCEPTION_TOKEN": "exception-Wai4pieg",
    "ERROR_TOKEN": "typed-error-Phoo2ahb",
    "CHECK_TOKEN": "check-fn-Ooth9yah",
    "ANSWER_TOKEN": "answer-Iepah8ie",
    "CHANGE_TOKEN": "change-Vae7quoh",
    "PROGRESS_TOKEN": "progress-Uz4oothi",
    "WARNING_CREDENTIAL": "warning-Nei9ohgh",
    "MISSING_TOKEN": "missing-Thoh5poo",
    "HTTPS_PROXY": "http://ann:proxy-Aing6aiv@proxy.invalid:3128",
    "PIP_INDEX_URL": "https://index-user-Ahv2shu0ee:x@index.invalid/simple",
}
ADDRESS = "https://bob:address-Eik4zohm@git.invalid/tool.git"
FORMS = {
    "header": "header-Wu8aeyoo.Dahf1eGh",
    "github": "ghp_" + "Geec5loh" * 4,
    "gitlab": "glpat-" + "Chai6Eeh" * 3,
    "registry": "npm_" + "Zoh4aiye" * 4,
    "index": "pypi-" + "Ahphae3o" * 5,
}
PLANTED = {
    **{name: value for name, value in ENVIRONMENT.items() if "://" not in value},
    "HTTPS_PROXY": "proxy-Aing6aiv",
    "PIP_INDEX_URL": "index-user-Ahv2shu0ee",
    "address": "address-Eik4zohm",
    **FORMS,
}

TOOL = """
echo "token is $NPM_CONFIG_TOKEN"
echo "secret is $MY_SECRET" >&2
echo "https://db.invalid/?p={quoted}"
echo "encoded: {encoded}"
echo "Authorization: Basic {basic}"
printf '%s' "{half}"; sleep 0.3; echo "{other}"
printf 'a%s' "{third}"; sleep 0.2; printf '%s' "{middle}" >&2; echo; printf '%s' "{third}"; sleep 0.2
echo "{last}"
printf '%s\\033[1m%s\\033[0m\\n' {colour}
echo "proxy $HTTPS_PROXY"; echo "index $PIP_INDEX_URL"
echo "cloning {address}"
echo "Authorization: Bearer {header}"
echo "{github} {gitlab}"; echo "_authToken={registry}" >&2; echo "TWINE={index}"
"""

PLUGIN = """
import os
from update_all.api import (
    BasePlugin, Change, CheckResult, OutputEvent, ProgressEvent, StepError, UpdateCommand, UpdateStep,
    WarningEvent,
)

def secret(name):
    return os.environ[name]

def unknown():
    raise RuntimeError(f"cannot ask with {secret('CHECK_TOKEN')}")

async def raises():
    yield OutputEvent(line="about to fail")
    raise RuntimeError(f"the server refused {secret('EXCEPTION_TOKEN')}")

async def fails():
    yield ProgressEvent(message=f"asking with {secret('PROGRESS_TOKEN')}")
    yield WarningEvent(message=f"old credential {secret('WARNING_CREDENTIAL')}")
    raise StepError(f"refused: {secret('ERROR_TOKEN')}", hint=f"renew {secret('ERROR_TOKEN')}")

class Plugin(BasePlugin):
    name = NAME
    command = "note"
    def get_update_steps(self):
        return STEPS
    async def check(self, context=None):
        return ANSWER
"""

STEPS = {
    "raising": "[UpdateStep('raises', 'R', execute_fn=raises)]",
    "failing": "[UpdateStep('fails', 'F', execute_fn=fails)]",
    "checking": "[UpdateStep('checks', 'C', commands=[UpdateCommand(['note', 'x'])], check_fn=unknown)]",
    "answering": "[UpdateStep('never', 'N', commands=[UpdateCommand(['note', 'x'])])]",
    "changing": "[UpdateStep('change', 'C', commands=[UpdateCommand(['note', 'x'])])]",
    "missing": "[UpdateStep('gone', 'G', commands=[UpdateCommand(['no-' + secret('MISSING_TOKEN')])])]",
}
ANSWERS = {
    "answering": "CheckResult.cannot_know(f\"401 for {secret('ANSWER_TOKEN')}\")",
    "changing": "CheckResult.of([Change('tool', '1', secret('CHANGE_TOKEN'))])",
}


def plant(machine: Machine) -> None:
    """Plugins that put every secret where it should not come out."""
    cut, thrice, colour = (ENVIRONMENT[f"{name}"] for name in ("CUT_TOKEN", "CUT_PASSWORD", "COLOUR_TOKEN"))
    script = TOOL.format(
        quoted=quote(ENVIRONMENT["DB_PASSWORD"], safe=""),
        encoded=base64.b64encode(ENVIRONMENT["API_KEY"].encode()).decode(),
        basic=base64.b64encode(b"ann:" + ENVIRONMENT["BASIC_AUTH"].encode()).decode(),
        half=cut[:9],
        other=cut[9:],
        third=thrice[:7],
        middle=thrice[:7],
        last=thrice[7:],
        colour=f"{colour[:8]} {colour[8:]}",
        address=ADDRESS,
        **FORMS,
    )
    machine.tool("talks", script)
    machine.plugin("talking", {"name": "talk", "cmd": ["talks"]}, {"name": "fail", "cmd": ["false"]})
    clone = ["note", "clone", ADDRESS, "--token", ENVIRONMENT["ARGUMENT_TOKEN"]]
    machine.plugin("cloning", {"name": "clone", "cmd": clone})
    for name, steps in STEPS.items():
        answer = ANSWERS.get(name, "CheckResult.of([Change('tool', '1', '2')])")
        source = PLUGIN.replace("NAME", repr(name)).replace("STEPS", steps).replace("ANSWER", answer)
        machine.python_plugin(name, source)


COMMANDS = (
    "plan", "plan --json", "check", "check --json", "run --dry-run", "run --yes", "resume --json",
    "run --yes --json --progress jsonl", "run --yes --progress live", "attach", "attach --progress jsonl",
    "status", "status --json", "history --json", "report --output {page}", "report --trace --output -",
    "explain cloning", "explain changing", "doctor", "plugins list",
)  # fmt: skip
FEW_COMMANDS = ("plan", "run --yes", "report --output {page}")


def printed(machine: Machine, commands: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What the program prints, command by command: runs, a resume, and the ways to look at them."""
    for command in commands:
        ended = machine.run(*command.format(page=machine.root / "state/page.html").split())
        yield command, ended.out + ended.err


def shapes(secret: str) -> Iterator[bytes]:
    yield secret.encode()
    yield quote(secret, safe="").encode()
    for before in (b"", b"ann:"):
        yield base64.b64encode(before + secret.encode()).rstrip(b"=")


def leaks(machine: Machine, commands: Sequence[str]) -> set[tuple[str, str]]:
    """Which secret came out where."""
    texts = [(command, text.encode()) for command, text in printed(machine, commands)]
    files = [path for path in (machine.root / "state").rglob("*") if path.is_file()]
    assert {"events.jsonl", "history.db", "page.html"} <= {path.name for path in files}
    assert any(path.suffix == ".log" for path in files)
    texts += [(str(path.relative_to(machine.root)), path.read_bytes()) for path in files if path.exists()]
    return {
        (name, where)
        for name, secret in PLANTED.items()
        for where, text in texts
        if any(shape in text for shape in shapes(secret))
    }


def test_there_are_twenty_five() -> None:
    assert len(PLANTED) == len(set(PLANTED.values())) == 25


def test_no_secret_is_in_any_file_or_output(tmp_path: Path) -> None:
    with machine_at(tmp_path) as machine:
        plant(machine)
        machine.env |= ENVIRONMENT

        assert leaks(machine, COMMANDS) == set()


def test_without_redaction_each_secret_would_come_out(tmp_path: Path) -> None:
    with machine_at(tmp_path) as machine:
        plant(machine)
        machine.env |= ENVIRONMENT
        switch = (
            "import update_all.core.cleaning as c\nc._Redactor.feed = lambda self, text, *_, **__: text\n"
        )
        (machine.root / "site/sitecustomize.py").write_text(switch)

        assert {name for name, _ in leaks(machine, FEW_COMMANDS)} == set(PLANTED)


def test_bug_report_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    forms = [f"Bearer {value}" if name == "header" else value for name, value in FORMS.items()]
    everything = " ".join([*os.environ.values(), ADDRESS, *forms])
    monkeypatch.setattr(sys, "argv", ["update-all", "run", everything])
    try:
        raise RuntimeError(everything)
    except RuntimeError as error:
        code = write_bug_report(error)
    assert code == 3
    [report] = tmp_path.rglob("bug-*.txt")
    text = report.read_text() + "".join(capsys.readouterr())
    assert "RuntimeError" in text
    assert [name for name, secret in PLANTED.items() if secret in text] == []

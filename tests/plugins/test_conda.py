"""Conda with its recorded answers: neither the tool nor its index can be had here.

The stand-in is a script that keeps real prefixes (conda-meta/NAME-VERSION-BUILD.json) and answers in the JSON
of conda 23 and micromamba 1.5: `info`, `env list`, `update --dry-run`, and the error of a dead network.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.api import Change, CheckStatus, JsonValue, PluginConfig, QueryOutput, StepError
from update_all.plugins.conda import environment_names, installed_in, parse_answer, parse_changes
from update_all.plugins.conda_clean import CondaCleanPlugin
from update_all.plugins.conda_packages import CondaPackagesPlugin
from update_all.plugins.conda_self import CondaSelfPlugin

sys.path.insert(0, str(Path(__file__).parent))
from release_steps import Machine, machine_at

DRY_RUN: dict[str, JsonValue] = {
    "actions": {
        "FETCH": [{"name": "openssl", "version": "1.1.1e", "size": 2200000, "sha256": "00"}],
        "LINK": [
            {"channel": "forge", "dist_name": "openssl-1.1.1e-0", "name": "openssl", "version": "1.1.1e"},
            {"channel": "forge", "dist_name": "certifi-2020.4-1", "name": "certifi", "version": "2020.4"},
            {"channel": "forge", "dist_name": "python_abi-3.7-1", "name": "python_abi", "version": "3.7"},
        ],
        "UNLINK": [
            {"channel": "forge", "dist_name": "openssl-1.1.1d-0", "name": "openssl", "version": "1.1.1d"},
            {"channel": "forge", "dist_name": "certifi-2020.4-0", "name": "certifi", "version": "2020.4"},
            {"channel": "forge", "dist_name": "six-1.14-0", "name": "six", "version": "1.14"},
        ],
        "PREFIX": "/opt/conda",
    },
    "dry_run": True,
    "prefix": "/opt/conda",
    "success": True,
}
NOTHING: dict[str, JsonValue] = {"message": "All requested packages already installed.", "success": True}
DEAD: dict[str, JsonValue] = {
    "caused_by": "ConnectionError",
    "error": "CondaHTTPError: HTTP 000 CONNECTION FAILED for url <http://127.0.0.1:9/noarch/repodata.json>",
    "exception_name": "CondaHTTPError",
    "message": "HTTP 000 CONNECTION FAILED for url <http://127.0.0.1:9/noarch/repodata.json>\nElapsed: -\n",
}

SCRIPT = """#!{python}
import json, os, sys
from pathlib import Path

root = Path({root!r})
state = json.loads((root / "state.json").read_text())
words = [word for word in sys.argv[1:] if not word.startswith("-")]
given = sys.argv[1:]

def meta(prefix):
    return Path(prefix) / "conda-meta"

def versions(prefix):
    return dict(file.stem.rsplit("-", 2)[:2] for file in meta(prefix).glob("*.json"))

if given[:1] == ["info"]:
    print(json.dumps({{"root_prefix": state["base"], "base environment": state["base"]}}))
elif given[:2] == ["env", "list"]:
    print(json.dumps({{"envs": state["envs"]}}))
elif given[:1] == ["clean"]:
    (root / "cleaned").write_text(" ".join(given))
elif given[:1] == ["update"]:
    prefix = given[given.index("--prefix") + 1]
    old = versions(prefix)
    new = {{name: state["index"].get(name, version) for name, version in old.items()}}
    if "--all" not in given:
        new = {{name: new[name] if name in words else version for name, version in old.items()}}
    changed = sorted(name for name in old if old[name] != new[name])
    locked = "--dry-run" not in given and prefix in state["locked"]
    if state["dead"] or prefix in state["broken"] or locked:
        print(json.dumps(state["error"]))
        sys.exit(1)
    elif "--dry-run" not in given:
        with open(root / "ledger", "a") as ledger:
            ledger.write(prefix + "\\n")
        for name in changed:
            file = meta(prefix) / f"{{name}}-{{old[name]}}-0.json"
            file.rename(meta(prefix) / f"{{name}}-{{new[name]}}-0.json")
    elif not changed:
        print(json.dumps({{"message": "All requested packages already installed.", "success": True}}))
    else:
        link = [{{"name": name, "version": new[name]}} for name in changed]
        unlink = [{{"name": name, "version": old[name]}} for name in changed]
        print(json.dumps({{"actions": {{"LINK": link, "UNLINK": unlink, "FETCH": []}}, "success": True}}))
else:
    sys.exit(2)
"""


class Conda:
    """A machine with a base environment, and others by prefix; `state` is what the stand-in knows."""

    def __init__(self, machine: Machine, program: str = "conda") -> None:
        self.machine = machine
        self.base = machine.root / "opt/conda"
        self.state: dict[str, JsonValue] = {
            "base": str(self.base),
            "envs": [],
            "index": {"numpy": "2.0", "conda": "24.1"},
            "dead": False,
            "broken": [],
            "locked": [],
            "error": DEAD,
        }
        tool = machine.root / "bin" / program
        tool.write_text(SCRIPT.format(python=sys.executable, root=str(machine.root)))
        tool.chmod(0o755)
        machine.config("[plugins]\nenabled = []\n")
        self.add(self.base, {"conda": "23.1", "numpy": "1.26"})

    def add(self, prefix: Path, packages: dict[str, str]) -> Path:
        (prefix / "conda-meta").mkdir(parents=True)
        for name, version in packages.items():
            (prefix / f"conda-meta/{name}-{version}-0.json").write_text("{}")
        envs = self.state["envs"]
        assert isinstance(envs, list)
        envs.append(str(prefix))
        self.save()
        return prefix

    def save(self, **changes: JsonValue) -> None:
        self.state |= changes
        (self.machine.root / "state.json").write_text(json.dumps(self.state))

    @property
    def updated(self) -> list[str]:
        path = self.machine.root / "ledger"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Conda]:
    with machine_at(tmp_path) as machine:
        for name, value in machine.env.items():
            monkeypatch.setenv(name, value)
        yield Conda(machine)


def test_the_changes_of_a_dry_run() -> None:
    assert parse_changes(DRY_RUN) == [
        Change("openssl", "1.1.1d", "1.1.1e", size_bytes=2200000),
        Change("python_abi", None, "3.7"),
        Change("six", "1.14", None),
    ]
    assert parse_changes(NOTHING) == []


@pytest.mark.parametrize(
    "answer", [{}, {"success": True}, {"message": "odd"}, {"actions": []}, {"actions": None}]
)
def test_another_shape_is_not_up_to_date(answer: dict[str, JsonValue]) -> None:
    with pytest.raises(StepError):
        parse_changes(answer)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (QueryOutput(1, json.dumps(DEAD), ""), "HTTP 000 CONNECTION FAILED"),
        (QueryOutput(0, json.dumps({"success": False, "error": "locked"}), ""), "locked"),
        (QueryOutput(0, "", ""), "no JSON object"),
        (QueryOutput(0, "[]", ""), "no JSON object"),
        (QueryOutput(3, "{}", ""), "exit code 3"),
    ],
)
def test_a_failure_keeps_condas_words(output: QueryOutput, message: str) -> None:
    with pytest.raises(StepError, match=message):
        parse_answer(output, "conda update")


PREFIXES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", ".conda", "base", "é", "x y"])), max_size=12
)


@given(PREFIXES)
def test_every_environment_has_a_name_of_its_own(parts: list[tuple[str, str]]) -> None:
    base = Path("/opt/conda")
    prefixes = [base, *(Path("/home") / parent / name for parent, name in parts)]
    names = environment_names(prefixes, base)
    assert sorted(names.values()) == sorted(set(prefixes))
    assert names["base"] == base


def test_prefixes_with_one_name_are_told_apart() -> None:
    base = Path("/opt/conda")
    prefixes = [base, Path("/opt/conda/envs/a"), Path("/home/u/proj/.conda"), Path("/home/u/a")]
    names = environment_names([*prefixes, Path("/srv/u/a")], base)
    assert list(names) == ["base", "a", "conda", "a-u", "a-u-2"]


def test_installed_packages_are_read_from_the_prefix(conda: Conda) -> None:
    prefix = conda.add(conda.base / "envs/a", {"scikit-learn": "1.4", "numpy": "1.26"})
    (prefix / "conda-meta/history").touch()
    assert installed_in(prefix) == {"scikit-learn": "1.4", "numpy": "1.26"}


def test_every_environment_is_a_step_and_a_second_run_is_a_no_op(conda: Conda) -> None:
    first = conda.add(conda.base / "envs/a", {"numpy": "1.26"})
    second = conda.add(conda.machine.root / "home/a", {"numpy": "1.25"})
    conda.add(conda.base / "envs/fresh", {"numpy": "2.0"})
    assert conda.machine.run("check", "conda-packages").code == 100
    ended = conda.machine.run("run", "conda-self", "conda-packages", "--yes", "--json")
    assert ended.code == 0, ended.err
    assert conda.updated == [str(conda.base)] * 2 + [str(first), str(second)]
    for prefix in (conda.base, first, second):
        assert installed_in(prefix)["numpy"] == "2.0"
    assert installed_in(conda.base)["conda"] == "24.1"
    assert conda.machine.run("check", "conda-packages", "conda-self").code == 0
    assert conda.machine.run("run", "conda-packages", "conda-self", "--yes").code == 0
    assert len(conda.updated) == 4


def test_a_failing_environment_is_resumed_and_nothing_done_is_done_again(conda: Conda) -> None:
    broken = conda.add(conda.base / "envs/broken", {"numpy": "1.26"})
    fine = conda.add(conda.base / "envs/fine", {"numpy": "1.26"})
    check = asyncio.run(CondaPackagesPlugin().check())
    steps = asyncio.run(CondaPackagesPlugin().plan_steps(check))
    assert [step.name for step in steps] == ["base", "broken", "fine"]
    assert all(step.depends_on == [] and "conda" in step.mutexes for step in steps)
    assert CondaPackagesPlugin.parallel_steps
    conda.save(locked=[str(broken)])
    assert conda.machine.run("run", "conda-packages", "--yes").code == 1
    assert conda.updated == [str(conda.base)]
    assert installed_in(broken)["numpy"] == "1.26"
    conda.save(locked=[])
    assert conda.machine.run("resume").code == 0
    assert conda.updated == [str(conda.base), str(broken), str(fine)]
    assert {installed_in(prefix)["numpy"] for prefix in (broken, fine)} == {"2.0"}


def test_an_environment_that_cannot_be_solved_does_not_stop_the_others(conda: Conda) -> None:
    stuck = conda.add(conda.base / "envs/stuck", {"numpy": "1.26"})
    fine = conda.add(conda.base / "envs/fine", {"numpy": "1.26"})
    conda.save(broken=[str(stuck)])
    answer = asyncio.run(CondaPackagesPlugin().check())
    assert (answer.status, answer.runnable) == (CheckStatus.CANNOT_KNOW, True)
    assert answer.reason.startswith("stuck: ")
    assert conda.machine.run("run", "conda-packages", "--yes").code == 1
    assert [installed_in(prefix)["numpy"] for prefix in (stuck, fine)] == ["1.26", "2.0"]


def test_conda_itself_fails_and_is_resumed(conda: Conda) -> None:
    conda.save(locked=[str(conda.base)])
    assert conda.machine.run("run", "conda-self", "--yes").code == 1
    assert installed_in(conda.base)["conda"] == "23.1"
    conda.save(locked=[])
    assert conda.machine.run("resume").code == 0
    assert installed_in(conda.base)["conda"] == "24.1"
    assert conda.machine.run("run", "conda-self", "--yes").code == 0
    assert conda.updated == [str(conda.base)]


def test_a_dead_index_is_not_up_to_date(conda: Conda) -> None:
    conda.save(dead=True)
    for plugin in (CondaSelfPlugin(), CondaPackagesPlugin()):
        answer = asyncio.run(plugin.check())
        assert (answer.status, answer.runnable) == (CheckStatus.CANNOT_KNOW, False)
        assert "CONNECTION FAILED" in answer.reason


def test_conda_itself_is_only_itself(conda: Conda) -> None:
    answer = asyncio.run(CondaSelfPlugin().check())
    assert [(change.item, change.new) for change in answer.updates] == [("conda", "24.1")]
    assert conda.machine.run("run", "conda-self", "--yes").code == 0
    assert installed_in(conda.base) == {"conda": "24.1", "numpy": "1.26"}


def test_frozen_foreign_and_excluded_environments_are_left_alone(conda: Conda) -> None:
    frozen = conda.add(conda.base / "envs/frozen", {"numpy": "1.26"})
    (frozen / "conda-meta/frozen").touch()
    conda.add(conda.base / "envs/excluded", {"numpy": "1.26"})
    conda.save(envs=[*conda.state["envs"], "/nowhere"])  # type: ignore[misc]
    plugin = CondaPackagesPlugin(PluginConfig(options={"exclude": ["excluded", str(conda.base)]}))
    assert asyncio.run(plugin.wanted()) == {}
    assert asyncio.run(plugin.check()).status is CheckStatus.UP_TO_DATE


@pytest.mark.parametrize("program", ["mamba", "micromamba"])
def test_the_other_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    with machine_at(tmp_path) as machine:
        for name, value in machine.env.items():
            monkeypatch.setenv(name, value)
        conda = Conda(machine, program)
        (step,) = asyncio.run(CondaSelfPlugin().plan_steps(asyncio.run(CondaPackagesPlugin().check())))
        (command,) = step.commands or []
        itself = (
            ["self-update"] if program == "micromamba" else ["update", "--prefix", str(conda.base), program]
        )
        assert command.cmd == [program, *itself, "--yes"]
        assert machine.run("run", "conda-packages", "--yes").code == 0
        assert installed_in(conda.base)["numpy"] == "2.0"


def test_nothing_is_deleted_unless_it_is_listed(conda: Conda) -> None:
    assert not CondaCleanPlugin().detect().present
    remove = '[plugin.conda-clean]\nremove = ["tarballs", "index-cache"]\n'
    conda.machine.config(f'[plugins]\nenabled = ["conda-clean"]\n{remove}')
    assert conda.machine.run("run", "conda-clean", "--yes").code == 0
    assert (conda.machine.root / "cleaned").read_text() == "clean --index-cache --tarballs --yes"
    (conda.machine.root / "cleaned").unlink()
    assert conda.machine.run("run", "--yes").code == 0
    assert not (conda.machine.root / "cleaned").exists(), "once a month"


def test_without_any_of_them_there_is_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not CondaPackagesPlugin().detect().present

"""`update-all doctor` with the real program: healthy machines, sick ones, and the mending commands."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from cli_machine import Machine
from hypothesis import given
from hypothesis import strategies as st

from update_all.cli.doctor import check_circumstances, check_privilege, lines
from update_all.cli.workspace import Selection
from update_all.core.host_checks import Finding, Level
from update_all.plugins.base import BasePlugin
from update_all.ui.text import Style


def findings(
    machine: Machine, *arguments: str, env: dict[str, str] | None = None
) -> dict[str, tuple[str, str]]:
    """Check → the worst level and its text."""
    ended = machine.run("doctor", "--json", *arguments, env=env)
    found: dict[str, tuple[str, str]] = {}
    items = ended.json["findings"]
    assert isinstance(items, list)
    order = list(Level)
    for item in items:
        assert isinstance(item, dict)
        before = found.get(str(item["check"]))
        if before is None or order.index(Level(str(item["level"]))) > order.index(Level(before[0])):
            found[str(item["check"])] = (str(item["level"]), str(item["text"]))
    bad = any(worst == "bad" for worst, _ in found.values())
    assert ended.code == ended.json["exit_code"] == (1 if bad else 0)
    return found


def test_a_healthy_set_up_has_no_fault_of_ours(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    machine.run("run", "--yes")
    found = findings(machine)
    ours = ("configuration", "plugins", "run lock", "permissions", "state", "history", "clock")
    assert {check: found[check][0] for check in ours} == dict.fromkeys(ours, "ok")


def test_a_bad_configuration_is_one_finding_and_the_rest_is_still_looked_at(machine: Machine) -> None:
    machine.config("jbos = 3\n")
    found = findings(machine)
    assert found["configuration"][0] == "bad"
    assert "jbos" in found["configuration"][1]
    assert "state" in found


def test_broken_and_overriding_plugins(machine: Machine) -> None:
    machine.plugin("alpha", text="schema = 1\nname = 7\n")
    assert findings(machine)["plugins"][0] == "bad"
    machine.plugin("alpha", {"name": "one"})
    machine.plugin("snap", {"name": "one"})
    level, text = findings(machine)["plugins"]
    assert (level, "snap" in text) == ("warning", True)


def test_unfinished_damaged_and_open_state(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one", "cmd": ["false"]})
    machine.run("run", "--yes")
    assert findings(machine)["state"] == ("warning", "alpha is unfinished")
    state = machine.state / "steps/alpha.json"
    state.write_text("{")
    assert findings(machine)["state"][0] == "bad"
    state.chmod(0o666)
    found = findings(machine)
    assert found["permissions"][0] == "bad"


def test_what_it_says_mends(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    machine.run("run", "--yes")
    machine.state.chmod(0o777)
    shown = machine.run("doctor").out.splitlines()
    mend = next(
        shown[number + 1].partition("→")[2].strip()
        for number, line in enumerate(shown)
        if "permissions" in line
    )
    subprocess.run(["sh", "-c", mend], check=True)
    assert findings(machine)["permissions"][0] != "bad"


def test_a_damaged_history_is_seen(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    machine.run("run", "--yes")
    (machine.state / "history.db").write_bytes(b"no database" * 1000)
    for name in ("history.db-wal", "history.db-shm"):
        (machine.state / name).unlink(missing_ok=True)
    assert findings(machine)["history"][0] != "ok"


def test_a_run_that_goes_on_is_seen(machine: Machine) -> None:
    gate = machine.gate("slow")
    machine.plugin("alpha", {"name": "one", "cmd": ["slow"]}, detect="note")
    run = machine.start("run", "--yes")
    while not (machine.root / "slow.pid").exists():
        assert run.poll() is None
    level, text = findings(machine)["run lock"]
    gate.unlink()
    run.communicate()
    assert level == "warning"
    assert f"pid {run.pid}" in text


def test_the_network_is_asked_only_when_wanted(machine: Machine) -> None:
    machine.tool("ask", "echo unreachable >&2; exit 1")
    machine.python_plugin(
        "cloud",
        "from update_all.api import BasePlugin, CheckResult, UpdateCommand\n"
        "class Plugin(BasePlugin):\n"
        "    name = 'cloud'\n"
        "    command = 'ask'\n"
        "    async def check(self):\n"
        "        return CheckResult.cannot_know('the index is unreachable')\n"
        "    def get_update_commands(self, dry_run=False):\n"
        "        return [UpdateCommand(['ask'])]\n",
    )
    assert "network" not in findings(machine)
    assert findings(machine, "--network")["network"] == ("bad", "cloud: the index is unreachable")


def test_a_proxy_that_is_not_there_is_bad_and_keeps_its_password(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        env = {"https_proxy": f"http://ann:hunter2secret@127.0.0.1:{port}"}
        level, text = findings(machine, "--network", env=env)["network"]
        assert (level, str(port) in text, "hunter2" in text) == ("bad", True, False)
        taken.listen()
        assert findings(machine, "--network", env=env)["network"][0] == "ok"


def test_no_way_to_root_is_bad_only_where_it_is_needed() -> None:
    assert check_privilege(Selection(), euid=0)[0].level is Level.OK
    assert check_privilege(Selection(), euid=1000)[0].level is Level.OK


class NeedsRoot(BasePlugin):
    name = "needy"
    command = "true"
    sudo_commands = ("true",)


@pytest.mark.skipif(shutil.which("sudo", path="/usr/bin") is None, reason="sudo is not installed")
def test_a_way_to_root_that_cannot_work_is_bad(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("NoNewPrivs:\t0\n")
    needs = Selection([NeedsRoot()])
    (fine,) = check_privilege(needs, "sudo", euid=1000, status=status)
    assert (fine.level, fine.text) == (Level.OK, "needy needs root, by way of /usr/bin/sudo")
    status.write_text("NoNewPrivs:\t1\n")
    (bad,) = check_privilege(needs, "sudo", euid=1000, status=status)
    assert (bad.level, "no_new_privs" in bad.text, bool(bad.mend)) == (Level.BAD, True, True)


def test_a_way_to_root_that_is_not_installed_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("update_all.core.privilege.shutil.which", lambda *_, **__: None)
    needs = Selection([NeedsRoot()])
    assert "neither sudo, doas nor run0 is installed" in check_privilege(needs, euid=1000)[0].text
    assert "doas is not installed" in check_privilege(needs, "doas", euid=1000)[0].text


def test_circumstances_are_told_where_there_are_any(tmp_path: Path) -> None:
    assert check_circumstances(tmp_path) == []
    battery = tmp_path / "sys/class/power_supply/BAT0"
    battery.mkdir(parents=True)
    for name, value in {"type": "Battery", "status": "Discharging", "capacity": "17"}.items():
        (battery / name).write_text(value)
    (finding,) = check_circumstances(tmp_path)
    assert (finding.check, finding.level) == ("power", Level.WARNING)
    assert "17 % left" in finding.text
    assert "guards.battery" in finding.mend
    (battery / "status").write_text("Charging")
    assert [item.level for item in check_circumstances(tmp_path)] == [Level.OK]


def test_the_last_line_says_how_much_is_wrong() -> None:
    def last(*levels: Level) -> str:
        return lines([Finding("x", level, "y", "z") for level in levels], Style(unicode=False))[-1]

    assert last(Level.OK) == "Nothing is wrong."
    assert last(Level.OK, Level.WARNING) == "Nothing must be mended, 1 to know of."
    assert last(Level.BAD, Level.WARNING, Level.BAD) == "2 must be mended, 1 to know of."


@given(
    st.lists(
        st.builds(Finding, st.text(min_size=1), st.sampled_from(Level), st.text(), st.text()), min_size=1
    )
)
def test_findings_are_shown_clean(found: list[Finding]) -> None:
    shown = lines([Finding("x", item.level, item.text, item.mend) for item in found], Style(unicode=False))
    assert all(line.isascii() and line.isprintable() for line in shown)
    assert len(shown) == 2 + len(found) + sum(bool(i.mend) and i.level is not Level.OK for i in found)


def test_it_makes_nothing(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    before = machine.tree()
    machine.run("doctor")
    assert machine.tree() == before

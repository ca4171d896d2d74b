"""`update-all doctor` with the real program: healthy machines, sick ones, and the mending commands."""

from __future__ import annotations

import socket
import subprocess

from cli_machine import Machine
from hypothesis import given
from hypothesis import strategies as st

from update_all.cli.doctor import check_privilege, lines
from update_all.cli.workspace import Selection
from update_all.core.host_checks import Finding, Level
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


@given(
    st.lists(
        st.builds(Finding, st.text(min_size=1), st.sampled_from(Level), st.text(), st.text()), min_size=1
    )
)
def test_findings_are_shown_clean(found: list[Finding]) -> None:
    shown = lines([Finding("x", item.level, item.text, item.mend) for item in found], Style(unicode=False))
    assert all(line.isascii() and line.isprintable() for line in shown)
    assert len(shown) == len(found) + sum(bool(i.mend) and i.level is not Level.OK for i in found)


def test_it_makes_nothing(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    before = machine.tree()
    machine.run("doctor")
    assert machine.tree() == before

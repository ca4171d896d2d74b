"""Write docs/lab.md from a real run of the lab: `python tools/lab.py [TOOL…]` (root, up to an hour).

Each tool is run against a tiny repository of its own, on loopback, in a machine of the test's own
(tests/lab/room.py). With names, only those tools are tried, and the table is printed instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "lab.md"
COLUMNS = {
    "test_cycle": "cycle",
    "test_offline": "offline",
    "test_killed_then_resume": "killed, resume",
    "test_killed_then_run": "killed, run",
}
FORM = ("-o", "junit_family=xunit1")
"""The one form of the results that has properties."""
HEAD = """\
# The lab

What was seen when update-all drove the real tools, each against a tiny repository of its own on
loopback, in a private mount and network namespace. Written by `python tools/lab.py`; the tests are
tests/lab/test_lab_tools.py.

- **cycle**: outdated → `check` names old → new → `run` → the tool has the new version → a second run
  does nothing. The seconds are those of `check` and `run` together.
- **offline**: the index is a closed port: `check` ends within 20 s as *cannot know*, with the reason
  shown, and a run does not say *up to date*. Lists that are fresh count as an answer; here they are old.
- **killed**: update-all and everything below it is killed with -9 in the middle of the upgrade, in any
  order. In brackets, what the tool's own check said then. The next `resume` or `run` ends with the planned
  version and a clean check. pacman is killed while it unpacks as well: tests/lab/test_lab_pacman.py.
"""


@dataclass(frozen=True)
class Seen:
    """One cell: whether it holds (None: not tried), and what was seen."""

    holds: bool | None
    text: str
    version: str = ""
    seconds: str = ""


def seen(case: ElementTree.Element) -> tuple[str, Seen]:
    """Plugin and cell of one test (in `FORM`)."""
    found = {entry.get("name", ""): entry.get("value", "") for entry in case.iter("property")}
    plugin = found.get("plugin", "")
    version, seconds = found.get("version", ""), found.get("seconds", "")
    for kind in ("failure", "error", "skipped"):
        problem = case.find(kind)
        if problem is not None:
            holds = None if kind == "skipped" else False
            message = (problem.get("message") or "").removeprefix(f"{plugin}: ").splitlines()[0]
            return plugin, Seen(holds, message, version, seconds)
    return plugin, Seen(True, found.get("seen", ""), version, seconds)


def cell(column: str, found: Seen | None) -> str:
    """One cell of the table."""
    if found is None or found.holds is None:
        return "not tried" + (f": {escaped(found.text)}" if found else "")
    mark = "✔" if found.holds else "✖"
    text = escaped(found.text)
    if column == "offline" and found.holds:
        text = f"{found.seconds} s: {text}"
    return f"{mark} ({text})" if column.startswith("killed") and found.holds else f"{mark} {text}"


def escaped(text: str) -> str:
    """In a table: no bars, no lines, not too long."""
    short = text.replace("|", "\\|").replace("\n", " ")
    return short if len(short) <= 120 else f"{short[:119]}…"


def table(cases: Iterable[ElementTree.Element]) -> str:
    """The table of all tools, in the order in which they were tried."""
    rows: dict[str, dict[str, Seen]] = defaultdict(dict)
    for case in cases:
        column = COLUMNS.get(case.get("name", "").partition("[")[0])
        plugin, found = seen(case)
        if column and plugin:
            rows[plugin][column] = found
    titles = ["tool", "version", "seconds", *COLUMNS.values()]
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    for plugin, cells in rows.items():
        version = next((found.version for found in cells.values() if found.version), "")
        cycle = cells.get("cycle")
        fixed = [plugin, version, cycle.seconds if cycle else ""]
        fixed += [cell(name, cells.get(name)) for name in COLUMNS.values()]
        lines.append(f"| {' | '.join(fixed)} |")
    return "\n".join(lines) + "\n"


def main(tools: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "--timeout=600", *FORM]
        command += [f"--junitxml={results}", "tests/lab/test_lab_tools.py"]
        if tools:
            command += ["-k", " or ".join(f"[{tool}]" for tool in tools)]
        environment = {**os.environ, "UPDATE_ALL_TEST_LAB": "1"}
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        # Our own file, not an attacker's.
        text = table(ElementTree.parse(results).iter("testcase"))  # noqa: S314
    if tools:
        sys.stdout.write(text)
    else:
        PAGE.write_text(f"{HEAD}\n{text}", "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

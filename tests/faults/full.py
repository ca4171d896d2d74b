"""The full tier: every promise of reliability with its full count, and the table of what was seen.

    python tests/faults/full.py [--only C3 --only P1 …] [--again] [--scale 0.1]

Each row is one call of pytest on a copy of the sources, so that one can go on working on them. Its JUnit file
in build/faults is the row's result: a row that is there and passed is not run again unless `--again`. The
table is printed and written, with the rows of earlier calls, to docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build/faults"
DOCUMENT = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- table: tests/faults/full.py -->\n", "<!-- end of the table -->\n"


@dataclass(frozen=True)
class Row:
    """A promise and the tests that hold it. `setting` is the variable that sets the count, if there is one.

    `goal` is the full count in units of that variable, `seconds` the time after which the row is given up.
    """

    id: str
    promise: str
    tests: tuple[str, ...]
    setting: str = ""
    goal: int = 0
    seconds: int = 900
    match: str = ""
    workers: int = 2


F, C, D, U, L, A = (f"tests/{room}/test_" for room in ("faults", "core", "downloads", "ui", "cli", "lab"))
ROWS = (
    Row("C1/C2", "killed at every call that touches the state: nothing lost or silently repeated",
        (f"{C}crash_points.py",)),
    Row("C1 real", "the same with SIGKILL at real system calls (strace)", (f"{F}kill_at_calls.py",),
        "UPDATE_ALL_FAULT_CALLS", 1000, seconds=3600),
    Row("C3", "the same for random SIGKILLs at orchestrator, shim, child and all", (f"{F}kill_resume.py",),
        "UPDATE_ALL_FAULT_KILLS", 2000, seconds=7200, match="random_kills"),
    Row("C4", "power cut on ext4, xfs and btrfs: state readable, no acknowledged transition lost",
        (f"{F}power_cut.py",), "UPDATE_ALL_FAULT_POWER_CUTS", 120, seconds=3600, workers=0),
    Row("C5", "no space, I/O error or no permission at every write, flush and rename: old state readable",
        (f"{C}paths.py", f"{C}disk_errors.py", f"{L}bad_input.py")),
    Row("C6", "orchestrator killed while steps run: re-attached or adopted, never started twice",
        (f"{F}reattach.py",), "UPDATE_ALL_FAULT_ORCHESTRATORS", 200, seconds=1800, workers=0),
    Row("C7", "damaged state files: the documented behaviour, evidence kept", (f"{C}damaged_state.py",)),
    Row("C8", "plan changed between kill and resume", (f"{C}plan_changes.py",)),
    Row("C11", "killed during install and switch: `current` always a version that runs",
        (f"{D}generations.py", f"{F}go_kills.py"), match="kill"),
    Row("P1", "cancellations leave no process, whatever it does to escape", (f"{F}orphans.py",),
        "UPDATE_ALL_FAULT_CANCELS", 11, seconds=1800),
    Row("P3", "a package transaction gets INT and nothing else; the Ctrl-C ladder", (f"{F}transactions.py",),
        "UPDATE_ALL_FAULT_SIGNALS", 200, seconds=1800),
    Row("P4", "twelve kinds of questions: no hang, each reported", (f"{F}questions.py",)),
    Row("P5", "several update-all at once: one runs, the others exit 75; no stale lock",
        (f"{L}two_processes.py", f"{F}together.py"), "UPDATE_ALL_FAULT_ROUNDS", 200, seconds=1800),
    Row("P7", "1 GiB of output, long lines, many steps: memory bounded, log complete",
        (f"{F}output_flood.py",), "UPDATE_ALL_FAULT_BYTES", 1 << 30, seconds=1800),
    Row("S1", "25 planted secrets are in no log, state, document, page or bug report",
        (f"{F}planted_secrets.py",)),
    Row("S2/S5", "real sudo: asked once, kept alive, given back; a limited rule; no ride on the ticket",
        (f"{C}privilege_sudo.py", f"{C}sudoers.py", f"{L}sudoers_command.py")),
    Row("S3/S4", "attacks on what root runs and reads are refused; all files are the owner's alone",
        (f"{F}root_attacks.py", f"{C}privilege.py")),
    Row("O1", "no control sequence passes the border or any printer", (f"{C}cleaning.py", f"{U}printers.py")),
    Row("O2", "no text becomes markup of the report", (f"{U}report.py",)),
    Row("E1/E2", "clock jumps and six locales", (f"{F}clock_and_locale.py",)),
    Row("E3", "a foreign dpkg lock is waited for, an interrupted dpkg is healed (real apt)",
        (f"{A}lab_apt.py",), match="killed or dies or death"),
    Row("Q1", "readers of foreign data: an answer or a typed error", (f"{F}fuzz.py",),
        "UPDATE_ALL_FAULT_FUZZ", 1_000_000, seconds=7200),
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a JUnit file tells of a row."""

    cases: int
    failed: int
    skipped: tuple[str, ...]
    date: str
    seconds: float

    @property
    def verdict(self) -> str:
        if self.failed:
            return f"**{self.failed} failed**"
        return "passed" if self.cases else "not run"


def result_file(row: Row) -> Path:
    return RESULTS / f"{row.id.replace('/', '-').replace(' ', '-')}.xml"


def read_result(path: Path) -> Result | None:
    """What was seen, None where the row never came to its end."""
    try:
        suite = ElementTree.parse(path).getroot().find("testsuite")  # noqa: S314 - written by our pytest
    except (OSError, ElementTree.ParseError):
        return None
    if suite is None:
        return None
    cases = failed = 0
    skipped: dict[str, None] = {}
    for case in suite.iter("testcase"):
        skip = case.find("skipped")
        if skip is not None:
            skipped[skip.get("message", "")] = None
        elif case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        else:
            cases += sum(_counts(case)) or 1
    date = suite.get("timestamp", "")[:10]
    return Result(cases, failed, tuple(skipped), date, float(suite.get("time", "0")))


def _counts(case: ElementTree.Element) -> Iterator[int]:
    for one in case.iter("property"):
        if one.get("name") in ("cases", "kills"):
            yield int(one.get("value", "0"))


def run_row(row: Row, sources: Path, scale: float) -> None:
    """Run the tests of a row, bounded in time; its JUnit file says how it went."""
    tests = [test for test in row.tests if (sources / test).exists()]
    target = result_file(row)
    target.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(sources / "src")}
    if row.setting:
        environment[row.setting] = str(max(1, int(row.goal * scale)))
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
    argv += [f"--junitxml={target}", *tests]
    argv += ["-k", row.match] if row.match else []
    argv += ["-n", str(row.workers)] if row.workers else []
    log = target.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, cwd=sources, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            process.wait(row.seconds)
        except subprocess.TimeoutExpired:
            print(f"{row.id}: given up after {row.seconds} s", flush=True)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def table(rows: Sequence[Row]) -> str:
    """The table of all rows that were run, in Markdown."""
    lines = ["| id | promise | tests | cases | result | date |", "|---|---|---|---|---|---|"]
    notes: list[str] = []
    for row in rows:
        found = read_result(result_file(row))
        tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in row.tests)
        if found is None:
            lines.append(f"| {row.id} | {row.promise} | {tests} | – | not run to its end | – |")
            continue
        more = f" ({found.seconds:.0f} s)"
        lines.append(
            f"| {row.id} | {row.promise} | {tests} | {found.cases:,} | {found.verdict}{more} | {found.date} |"
        )
        notes += [f"- {row.id} skipped: {_plain(reason)}" for reason in found.skipped]
    return "\n".join([*lines, "", *(["Left out where it was run:", "", *notes, ""] if notes else [])]) + "\n"


def _plain(reason: str) -> str:
    return reason.replace("|", "/").replace("\n", " ")


def write_document(text: str) -> None:
    """Replace the table in the document."""
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def main() -> int:
    """Run what is asked for; 1 if a row that was run has a failure or no end."""
    parser = argparse.ArgumentParser(description="Run the full tier of the fault tests.")
    parser.add_argument("--only", action="append", metavar="ID", choices=[row.id for row in ROWS])
    parser.add_argument("--again", action="store_true", help="also rows that have passed already")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full counts")
    parser.add_argument("--table", action="store_true", help="only write the table of what is there")
    options = parser.parse_args()
    wanted = [row for row in ROWS if not options.only or row.id in options.only]
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="update-all-faults-") as place:
        for name in ("src", "tests", "examples", "docs"):
            shutil.copytree(ROOT / name, Path(place) / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, place)
        for row in [] if options.table else wanted:
            found = read_result(result_file(row))
            if found is None or found.failed or options.again or not found.cases:
                print(f"{row.id}: {row.promise} …", flush=True)
                run_row(row, Path(place), options.scale)
    text = table(ROWS)
    write_document(text)
    print(text)
    results = [read_result(result_file(row)) for row in wanted]
    return 1 if any(found is None or found.failed for found in results) else 0


if __name__ == "__main__":
    sys.exit(main())

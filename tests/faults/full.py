"""The full tier: every promise of reliability with its full count, and the table of what was seen.

    python tests/faults/full.py [--only C3 --only P1 …] [--again] [--scale 0.1] [--jobs 2]

Each row is one call of pytest on a copy of the sources, so that one can go on working on them. Two rows run
at a time, the longest first, for they mostly wait; those that measure time, or share one real sudo, run alone
after them. A row's JUnit file in build/faults is its result: a row that is there and passed is not run again
unless `--again`. The table is printed and written, with the rows of earlier calls, to docs/reliability.md. A
trial with a share of the counts keeps its results in build/faults-trial and writes no table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build/faults"
DOCUMENT = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- table: tests/faults/full.py -->\n", "<!-- end of the table -->\n"


@dataclass(frozen=True)
class Row:
    """A promise and the tests that hold it.

    `counts` are the variables that set how often the tests try, with their full values. `seconds` is about
    what the full count takes on two cores with another row beside it; after four times that a row is given
    up. `workers` is the number of processes, more than cores where they mostly wait.
    """

    id: str
    promise: str
    tests: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: int = 30
    match: str = ""
    workers: int = 2
    alone: bool = False


F, C, D, U, L, A = (f"tests/{room}/test_" for room in ("faults", "core", "downloads", "ui", "cli", "lab"))
ROWS = (
    Row("C1/C2", "killed at every call that touches the state: nothing lost or silently repeated",
        (f"{C}crash_points.py",), seconds=100),
    Row("C1 real", "the same with SIGKILL at real system calls (strace)", (f"{F}kill_at_calls.py",),
        {"UPDATE_ALL_FAULT_CALLS": 1000}, seconds=900, workers=4),
    Row("C3", "the same for random SIGKILLs at orchestrator, shim, child and all", (f"{F}kill_resume.py",),
        {"UPDATE_ALL_FAULT_KILLS": 2200}, seconds=1000, match="random_kills", workers=6),
    Row("C4", "power cut on ext4, xfs and btrfs: state readable, no acknowledged transition lost",
        (f"{F}power_cut.py",), {"UPDATE_ALL_FAULT_POWER_CUTS": 120}, seconds=300, workers=3),
    Row("C5", "no space, I/O error or no permission at every write, flush and rename: old state readable",
        (f"{C}paths.py", f"{C}disk_errors.py", f"{L}bad_input.py"), seconds=100),
    Row("C6", "orchestrator killed while steps run: re-attached or adopted, never started twice",
        (f"{F}reattach.py",), {"UPDATE_ALL_FAULT_ORCHESTRATORS": 200}, seconds=150, workers=5),
    Row("C7", "damaged state files: the documented behaviour, evidence kept; a resume from them keeps C1",
        (f"{C}damaged_state.py", f"{F}damaged_resume.py"), {"UPDATE_ALL_FAULT_DAMAGE": 300},
        seconds=300, workers=4),
    Row("C8", "plan changed between kill and resume", (f"{C}plan_changes.py",)),
    Row("C11", "killed during install and switch: `current` always a version that runs",
        (f"{D}generations.py", f"{F}install_kills.py", f"{F}go_kills.py"),
        {"UPDATE_ALL_FAULT_INSTALLS": 1000, "UPDATE_ALL_TEST_GO_KILLS": 60}, seconds=250, match="kill",
        workers=3),
    Row("A1", "one bit turned over in file, digest or size: refused before it is unpacked",
        (f"{F}go_kills.py",), {"UPDATE_ALL_FAULT_FLIPS": 1000}, seconds=100, match="flipped"),
    Row("P1", "cancellations leave no process, whatever it does to escape", (f"{F}orphans.py",),
        {"UPDATE_ALL_FAULT_CANCELS": 11}, seconds=150),
    Row("P2", "the same for processes of root, through real sudo: ended, or named",
        (f"{F}orphans_as_root.py",), {"UPDATE_ALL_FAULT_ROOT_CANCELS": 42}, seconds=600, workers=0,
        alone=True),
    Row("P3", "a package transaction gets INT and nothing else; the Ctrl-C ladder", (f"{F}transactions.py",),
        {"UPDATE_ALL_FAULT_SIGNALS": 200}, seconds=200, alone=True),
    Row("P4", "twelve kinds of questions: no hang, each reported", (f"{F}questions.py",), alone=True),
    Row("P5", "several update-all at once: one runs, the others exit 75; no stale lock",
        (f"{L}two_processes.py", f"{F}together.py"), {"UPDATE_ALL_FAULT_ROUNDS": 200}, seconds=300,
        workers=3),
    Row("P7", "1 GiB of output, long lines, many steps: memory bounded, log complete",
        (f"{F}output_flood.py",), {"UPDATE_ALL_FAULT_BYTES": 1 << 30}, seconds=60, alone=True),
    Row("S1", "25 planted secrets are in no log, state, document, page or bug report",
        (f"{F}planted_secrets.py",)),
    Row("S2/S5", "real sudo: asked once, kept alive, given back; a limited rule; no ride on the ticket",
        (f"{C}privilege_sudo.py", f"{C}sudoers.py", f"{L}sudoers_command.py", f"{F}sudo_setups.py"),
        seconds=120, alone=True),
    Row("S3/S4", "attacks on what root runs and reads are refused; all files are the owner's alone",
        (f"{F}root_attacks.py", f"{C}privilege.py")),
    Row("O1", "no control sequence passes the border, any printer or the page of a run",
        (f"{C}cleaning.py", f"{U}printers.py", f"{F}fuzz_printers.py"),
        {"UPDATE_ALL_FAULT_PRINTED": 1_000_000}, seconds=400),
    Row("O2", "no text becomes markup of the report", (f"{U}report.py",)),
    Row("E1/E2", "clock jumps and six locales", (f"{F}clock_and_locale.py",), alone=True),
    Row("E3", "a foreign dpkg lock is waited for, an interrupted dpkg is healed (real apt)",
        (f"{A}lab_apt.py", f"{A}lab_apt_lock.py"), match="killed or dies or death or lock"),
    Row("Q1", "readers of foreign data: an answer or a typed error", (f"{F}fuzz.py",),
        {"UPDATE_ALL_FAULT_FUZZ": 1_000_000}, seconds=1200),
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


def result_file(row: Row, results: Path = RESULTS) -> Path:
    return results / f"{row.id.replace('/', '-').replace(' ', '-')}.xml"


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


def run_row(row: Row, sources: Path, results: Path, scale: float) -> None:
    """Run the tests of a row, bounded in time; its JUnit file among the results says how it went."""
    print(f"{row.id}: {row.promise} …", flush=True)
    began = time.monotonic()
    tests = [test for test in row.tests if (sources / test).exists()]
    target = result_file(row, results)
    target.unlink(missing_ok=True)
    counts = {name: str(max(1, int(count * scale))) for name, count in row.counts.items()}
    environment = {**os.environ, "PYTHONPATH": str(sources / "src"), **counts}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
    argv += ["-o", "tmp_path_retention_policy=failed", f"--basetemp={sources.parent / target.stem}"]
    argv += [f"--junitxml={target}", *tests]
    argv += ["-k", row.match] if row.match else []
    argv += ["-n", str(row.workers), "--dist", "worksteal"] if row.workers else []
    with target.with_suffix(".log").open("wb") as output:
        process = subprocess.Popen(
            argv, cwd=sources, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            process.wait(300 + 4 * row.seconds)
        except subprocess.TimeoutExpired:
            print(f"{row.id}: given up", flush=True)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    shutil.rmtree(sources.parent / target.stem, ignore_errors=True)
    found = read_result(target)
    said = "no end" if found is None else f"{found.cases:,} cases, {found.verdict}"
    print(f"{row.id}: {said} after {time.monotonic() - began:.0f} s", flush=True)


def run_rows(rows: Sequence[Row], sources: Path, results: Path, scale: float, jobs: int) -> None:
    """Run the rows: `jobs` at a time, the longest first, then those that want the machine for themselves."""
    together = sorted((row for row in rows if not row.alone), key=lambda row: -row.seconds)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda row: run_row(row, sources, results, scale), together))
    for row in rows:
        if row.alone:
            run_row(row, sources, results, scale)


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


def copied(place: Path) -> Path:
    """A copy of what the tests need."""
    place.mkdir()
    for name in ("src", "tests", "examples", "docs"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, place)
    return place


def main() -> int:
    """Run what is asked for; 1 if a row that was run has a failure or no end."""
    parser = argparse.ArgumentParser(description="Run the full tier of the fault tests.")
    parser.add_argument("--only", action="append", metavar="ID", choices=[row.id for row in ROWS])
    parser.add_argument("--again", action="store_true", help="also rows that have passed already")
    parser.add_argument("--scale", type=float, default=1.0, help="a trial with a share of the full counts")
    parser.add_argument("--jobs", type=int, default=2, help="rows at a time")
    parser.add_argument("--table", action="store_true", help="only write the table of what is there")
    options = parser.parse_args()
    wanted = [row for row in ROWS if not options.only or row.id in options.only]
    results = RESULTS if options.scale == 1 else RESULTS.with_name("faults-trial")
    results.mkdir(parents=True, exist_ok=True)
    known = {row.id: read_result(result_file(row, results)) for row in wanted}
    due = [
        row for row in wanted
        if options.again or (found := known[row.id]) is None or found.failed or not found.cases
    ]  # fmt: skip
    if not options.table:
        with tempfile.TemporaryDirectory(prefix="ua-faults-") as place:
            run_rows(due, copied(Path(place) / "sources"), results, options.scale, options.jobs)
    if results == RESULTS:
        text = table(ROWS)
        write_document(text)
        print(text)
    ends = [read_result(result_file(row, results)) for row in wanted]
    return 1 if any(found is None or found.failed for found in ends) else 0


if __name__ == "__main__":
    sys.exit(main())

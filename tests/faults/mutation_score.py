"""The mutation score (Q2): how many small wrong versions of a module its tests find.

    python tests/faults/mutation_score.py [--only core/state …] [--sample 100] [--again]
    python tests/faults/mutation_score.py [--only …] --survivors | --table

Works on a copy. A process that has imported the test tools forks for each mutant: the child imports the wrong
version and runs the tests that were in its lines, the quickest first, until one fails. Too long, also with
four times the time, is found too. Results are kept in build/mutation, and docs/mutation.md is made from them.
What survives must be argued for in survivors.toml, by its statement and its change.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import coverage
import httpx2  # noqa: F401 - what the tests import is imported once, before the forks
import hypothesis.stateful
import msgspec  # noqa: F401
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build/mutation"
DOCUMENT = ROOT / "docs/mutation.md"
ARGUMENTS = Path(__file__).with_name("survivors.toml")
BEGIN, END = "<!-- table: tests/faults/mutation_score.py -->\n", "<!-- end of the table -->\n"
GOAL = 85
MEMORY_BYTES = 6 << 30


@dataclass(frozen=True)
class Target:
    """A module and the tests that know it.

    `children`: it also runs where no coverage is seen, in other processes, or keeps what it worked out for
    an earlier test.
    """

    tests: tuple[str, ...]
    children: bool = False


def _tests(room: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{room}/test_{name}.py" for name in names)


STATE = _tests("core", "transitions", "state_format", "state_store", "state_journal", "state_edges",
               "damaged_state", "json_reading", "recovery", "plan_changes", "disk_errors")  # fmt: skip
SCHEDULING = _tests("core", "ready", "scheduling", "scheduling_properties", "forecast")
CLEANING = _tests("core", "cleaning", "cleaning_edges", "output")
ARCHIVES = _tests("downloads", "members", "member_rules", "link_targets", "tar_reading", "zip_reading",
                  "zip_contents", "rules_alone")  # fmt: skip
WALLS = _tests("downloads", "walls", "landlock")
TARGETS: dict[str, Target] = {
    "core/state": Target(STATE),
    "core/state_text": Target(_tests("core", "state_text", "state_store")),
    "core/transitions": Target(STATE),
    "core/scheduling": Target(SCHEDULING),
    "core/ready": Target(SCHEDULING),
    "downloads/tarball": Target(ARCHIVES),
    "downloads/zipball": Target(ARCHIVES),
    "downloads/members": Target(ARCHIVES),
    "downloads/confine": Target(WALLS, children=True),
    "downloads/verify": Target(_tests("downloads", "signatures", "status_lines", "download_rules")),
    "core/cleaning": Target(CLEANING, children=True),
    "core/control_sequences": Target(CLEANING),
    "core/privilege": Target(
        (
            *_tests("core", "privilege", "privilege_details", "privilege_sudo"),
            *_tests("faults", "root_attacks"),
        )
    ),
}
PATIENCE = 4
"""How much longer the tests may take when it was too long: the machine may have been busy."""


@dataclass
class Known:
    """What the tests do with the right version: how long each takes, and in which lines it is."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[int, set[str]] = field(default_factory=dict)

    def order(self, mutant: Mutant, children: bool) -> dict[str, float]:
        """The tests that may see the mutant, surest and quickest first: name → seconds."""
        seen = {test for line in mutant.lines for test in self.lines.get(line, ())}
        others = set(self.seconds) if children or not seen else seen
        order = sorted(others, key=lambda test: (test not in seen, self.seconds[test]))
        return {test: self.seconds[test] for test in order}


class Timekeeper:
    """Notes how long each test takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


class Selected:
    """Runs these tests only, in this order, each with a time limit of its own."""

    def __init__(self, order: Mapping[str, float], patience: int) -> None:
        self.order, self.patience = order, patience
        self.place = {test: number for number, test in enumerate(order)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.place]
        items.sort(key=lambda item: self.place[item.nodeid])
        for item in items:
            seconds = self.patience * (5 + 4 * self.order[item.nodeid])
            item.add_marker(pytest.mark.timeout(seconds), append=False)


class Workshop:
    """A copy of the sources in which a module can be wrong."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._known: dict[tuple[str, ...], tuple[dict[str, float], coverage.CoverageData]] = {}
        for name in ("src", "tests", "examples", "docs"):
            shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, directory)

    def module(self, name: str) -> Path:
        return self.directory / "src/update_all" / f"{name}.py"

    def pytest(self, *options: str, plugins: Sequence[object] = ()) -> int:
        """Run pytest in this process, which is a child of ours."""
        os.chdir(self.directory)
        sys.path.insert(0, str(self.directory / "src"))
        os.environ["PYTHONPATH"] = str(self.directory / "src")
        hypothesis.settings.register_profile("mutation", database=None, deadline=None, derandomize=True)
        hypothesis.settings.load_profile("mutation")
        argv = ["-q", "-x", "-p", "no:cacheprovider", f"--basetemp={self.directory}/tmp"]
        argv += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        return int(pytest.main([*argv, *options], [*plugins]))

    def known(self, module: str) -> Known:
        """What the tests of a module do with its right version. Raises SystemExit where they fail."""
        tests = TARGETS[module].tests
        if tests not in self._known:
            self._known[tests] = self._observed(tests)
        seconds, found = self._known[tests]
        lines = found.contexts_by_lineno(str(self.module(module))).items()
        return Known(
            seconds, {line: {name.rpartition("|")[0] for name in names if name} for line, names in lines}
        )

    def _observed(self, tests: Sequence[str]) -> tuple[dict[str, float], coverage.CoverageData]:
        answer, log = self.directory / "known", self.directory / "log"
        data = self.directory / f"coverage-{len(self._known)}"
        keeper = Timekeeper()

        def all_of_them() -> int:
            os.environ["COVERAGE_FILE"] = str(data)
            options = ["--cov=update_all", "--cov-context=test", "--cov-report="]
            code = self.pytest(*options, *tests, plugins=[keeper])
            answer.write_text(json.dumps(keeper.seconds))
            return code

        code = _ended(_forked(all_of_them, log), 3600)
        if code or code is None:
            raise SystemExit(f"a test fails without a change:\n{log.read_text()[-3000:]}")
        found = coverage.CoverageData(str(data))
        found.read()
        return json.loads(answer.read_text()), found

    def finds(self, module: str, mutant: Mutant, order: Mapping[str, float]) -> str:
        """The end of the tests with the wrong version: `found`, `too long` or `survived`."""
        end = self._end(module, mutant, order, 1)
        return end if end != "too long" else self._end(module, mutant, order, PATIENCE)

    def _end(self, module: str, mutant: Mutant, order: Mapping[str, float], patience: int) -> str:
        place, log = self.module(module), self.directory / "log"
        right = place.read_text("utf-8")
        place.write_text(mutant.source, "utf-8")
        for stale in (place.parent / "__pycache__").glob(f"{place.stem}.*"):
            stale.unlink()

        def some_of_them() -> int:
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            files = sorted({test.partition("::")[0] for test in order})
            return self.pytest(*files, plugins=[Selected(order, patience)])

        child = _forked(some_of_them, log)
        try:
            code = _ended(child, patience * (60 + 4 * sum(order.values())))
            if code is None or "from pytest-timeout" in log.read_text("utf-8", "replace"):
                return "too long"
            return "found" if code else "survived"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
            place.write_text(right, "utf-8")


def _forked(work: Callable[[], int], log: Path) -> int:
    """A child in a session of its own that does the work and exits with its code, all output in the log."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for number, to in ((0, os.open(os.devnull, os.O_RDONLY)), (1, descriptor), (2, descriptor)):
            os.dup2(to, number)
        code = work()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - nothing of the parent may go on in the child
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _ended(child: int, seconds: float) -> int | None:
    """The exit code of the child; None where it had to be ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def measure(workshop: Workshop, module: str, sample: int, *, survivors: bool = False) -> None:
    """Try the mutants of one module, all, a sample, or those that survived before; keep what was seen."""
    known = workshop.known(module)
    every = list(mutants(workshop.module(module).read_text("utf-8")))
    chosen = sorted(random.Random(0).sample(range(len(every)), min(sample, len(every))))  # noqa: S311
    before = _before(module) if survivors else {}
    if before:
        chosen = [number for number, mutant in enumerate(every) if _key(mutant) in before]
    seen: list[dict[str, object]] = []
    for number in chosen:
        mutant = every[number]
        end = before.get(_key(mutant), "survived")
        if end == "survived":
            end = workshop.finds(module, mutant, known.order(mutant, TARGETS[module].children))
        seen.append({"line": mutant.line, "in": mutant.statement, "change": mutant.change, "end": end})
        if end == "survived":
            print(f"{module}.py:{mutant.line}: {mutant.statement}\n    {mutant.change}", flush=True)
    result = {"module": module, "all": len(every), "date": time.strftime("%Y-%m-%d"), "mutants": seen}
    RESULTS.mkdir(parents=True, exist_ok=True)
    _file(module).write_text(json.dumps(result, indent=1))


def _key(mutant: Mutant) -> tuple[int, str, str]:
    return mutant.line, mutant.statement, mutant.change


def _before(module: str) -> dict[tuple[int, str, str], str]:
    """How each mutant ended when the module was last measured."""
    if not _file(module).exists():
        return {}
    rows = json.loads(_file(module).read_text())["mutants"]
    return {(row["line"], row["in"], row["change"]): row["end"] for row in rows}


def _file(module: str) -> Path:
    return RESULTS / f"{module.replace('/', '-')}.json"


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test found, and why that is no loss; the reason is empty where nobody has said."""

    line: int
    statement: str
    change: str
    reason: str


@dataclass(frozen=True)
class Score:
    """What was seen of one module. `every` counts its mutants, `tried` those of the sample."""

    module: str
    every: int
    tried: int
    date: str
    survivors: tuple[Survivor, ...]

    @property
    def percent(self) -> float:
        return 100 * (self.tried - len(self.survivors)) / self.tried


def score(module: str) -> Score | None:
    """The result that is kept of a module, None where there is none."""
    if not _file(module).exists():
        return None
    found = json.loads(_file(module).read_text())
    reasons = {(row["in"], row["change"]): row["because"] for row in _arguments().get(module, [])}
    left = [
        Survivor(row["line"], row["in"], row["change"], reasons.get((row["in"], row["change"]), ""))
        for row in found["mutants"]
        if row["end"] == "survived"
    ]
    return Score(module, found["all"], len(found["mutants"]), found["date"], tuple(left))


def _arguments() -> dict[str, list[dict[str, str]]]:
    return tomllib.loads(ARGUMENTS.read_text("utf-8")) if ARGUMENTS.exists() else {}


def document(scores: Sequence[Score]) -> str:
    """The table of the scores and the list of what survived, in Markdown."""
    lines = ["| module | mutants | tried | found | score | date |", "|---|---|---|---|---|---|"]
    for one in scores:
        found = one.tried - len(one.survivors)
        lines.append(
            f"| `{one.module}.py` | {one.every} | {one.tried} | {found} | {one.percent:.1f} % | {one.date} |"
        )
    for one in scores:
        lines += ["", f"## `{one.module}.py`", ""]
        lines += [_listed(left) for left in one.survivors] or ["Nothing survived."]
    return "\n".join(lines) + "\n"


def _listed(left: Survivor) -> str:
    said = left.reason or "**nobody has said why**"
    return f"- line {left.line}, `{left.statement}`: `{left.change}`. {said}"


def main() -> int:
    """Measure what is asked for and write the document; 1 where a module is below the goal."""
    parser = argparse.ArgumentParser(description="Measure the mutation score.")
    parser.add_argument("--only", action="append", metavar="MODULE", choices=list(TARGETS))
    parser.add_argument("--again", action="store_true", help="also modules that have a result already")
    parser.add_argument("--survivors", action="store_true", help="only what survived the last time")
    parser.add_argument("--sample", type=int, default=1 << 30, help="try so many mutants of each module")
    parser.add_argument("--table", action="store_true", help="only write the table of what is there")
    options = parser.parse_args()
    wanted = options.only or list(TARGETS)
    due = [one for one in wanted if options.again or options.survivors or not _file(one).exists()]
    if due and not options.table:
        with tempfile.TemporaryDirectory(prefix="update-all-mutants-") as place:
            workshop = Workshop(Path(place))
            for module in due:
                measure(workshop, module, options.sample, survivors=options.survivors)
    scores = [found for module in TARGETS if (found := score(module)) is not None]
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{document(scores)}\n{END}{after}", "utf-8")
    print(*(f"{one.module}: {one.percent:.1f} % of {one.tried}" for one in scores), sep="\n")
    return 1 if any(one.percent < GOAL for one in scores if one.module in wanted) else 0


if __name__ == "__main__":
    sys.exit(main())

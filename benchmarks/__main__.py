"""`python -m benchmarks [--quick] [--only NAME]…`: measure, print each row, write docs/performance.md."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks import peers
from benchmarks.context import REPOSITORY, Context
from benchmarks.measuring import BenchmarkError
from benchmarks.report import Report, ratio_text
from benchmarks.rows import Row

TOPICS = (
    "startup",
    "checks",
    "makespan",
    "dispatch",
    "killed",
    "nothing_to_do",
    "output",
    "live_view",
    "download",
    "extraction",
    "state",
    "memory",
)


def main() -> int:
    """0 when every topic was measured, whatever the figures; 1 when one could not be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small work, only peers that are here already")
    parser.add_argument("--only", action="append", choices=TOPICS, help="this topic; may be repeated")
    parser.add_argument("--into", type=Path, default=REPOSITORY / "docs", help="where the report goes")
    options = parser.parse_args()
    began = time.monotonic()
    cache = peers.cache_directory()
    tools = peers.find(cache) if options.quick else peers.install(cache)
    # Beside the peers, not in /tmp: a file system in memory would make flushes free.
    work = cache / f"work-{time.time_ns()}"
    rows: list[Row] = []
    failures: dict[str, str] = {}
    try:
        for topic in options.only or TOPICS:
            context = Context(work, tools, options.quick)
            rows += _measured(topic, context, failures)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report = Report(rows, peers.versions(tools), time.monotonic() - began, failures)
    report.write(options.into)
    print(f"{options.into / 'performance.md'}: {len(rows)} rows in {report.seconds:.0f} s")
    return 1 if failures else 0


def _measured(topic: str, context: Context, failures: dict[str, str]) -> list[Row]:
    rows: list[Row] = []
    try:
        for row in import_module(f"benchmarks.{topic}").bench(context):
            rows.append(row)
            verdict = {True: "met", False: "NOT MET", None: ""}[row.met]
            goal = "" if row.goal is None else f" (goal {row.goal})"
            print(
                f"{row.topic}: {row.work}: {row.shown(row.ours)} against {row.shown(row.theirs)} of"
                f" {row.peer}: ×{ratio_text(row)}{goal} {verdict}",
                flush=True,
            )
    except BenchmarkError as error:
        sys.stderr.write(f"{topic}: {error}\n")
        failures[topic] = str(error)
    return rows


if __name__ == "__main__":
    sys.exit(main())

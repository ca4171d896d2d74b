"""Output: 1 GiB of lines through the engine into log and view, cleaned."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks.context import Context, drive, figure
from benchmarks.graphs import Task, Work, write_plan
from benchmarks.measuring import Contestant, Sample, constant, interleave, run, timed, with_value
from benchmarks.rows import Row, at_least, at_most

TOPIC = "Output"
BLOCK_BYTES = 16 * 1024 * 1024
MOST_MEMORY = 40e6

_READLINE = """
import asyncio, sys
async def main():
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*sys.argv[1:], stdout=pipe)
    count = 0
    while line := await process.stdout.readline():
        count += 1
    await process.wait()
asyncio.run(main())
"""


def bench(context: Context) -> Iterator[Row]:
    blocks = 2 if context.quick else 64
    folder = context.directory("output")
    env = context.environment(folder)
    block = folder / "block"
    lines = BLOCK_BYTES // 80
    block.write_text(
        "".join(
            f"line {number:9} of a tool that says a lot ".ljust(79, ".") + "\n" for number in range(lines)
        )
    )
    command = ["cat", *[str(block)] * blocks]
    plan = write_plan(folder / "plan.json", Work([Task("flood", command)]))
    idle = write_plan(folder / "idle.json", Work([Task("flood", ["/bin/true"])]))
    peaks: dict[str, list[Sample]] = {"flood": [], "idle": []}

    def ours() -> Sample:
        for name, what in (("idle", idle), ("flood", plan)):
            finished = drive(context, what, context.directory("state"), "--view")
            peaks[name].append(with_value(finished.sample, figure(finished, "peak")))
        return finished.sample

    contestants: dict[str, Contestant] = {
        "ours": ours,
        "readline": timed([sys.executable, "-c", _READLINE, *command], env=env),
        "cat": lambda: run(["sh", "-c", 'cat "$@" > copy', "sh", *command[1:]], env=env, cwd=folder).sample,
    }
    results = interleave(contestants, context.rounds(3))
    size = blocks * lines * 80
    work = f"{size / 2**20:,.0f} MiB of lines"
    for peer, title, goal in (
        ("readline", "asyncio readline, no log", at_least(4)),
        ("cat", "cat into a file (limit)", None),
    ):
        yield Row(
            TOPIC, work, title, results["ours"], results[peer], goal,
            unit="MB/s", amount=size / 1e6, speed=True,
        )  # fmt: skip
    above = [
        with_value(high, high.value - low.value)
        for high, low in zip(peaks["flood"], peaks["idle"], strict=True)
    ]
    yield Row(
        TOPIC, "peak memory above idle", "limit", above, constant(MOST_MEMORY), at_most(1), unit="bytes"
    )

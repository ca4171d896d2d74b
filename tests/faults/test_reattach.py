"""The orchestrator killed while steps run: what ended is adopted, what lives is re-attached to, none twice.

UPDATE_ALL_FAULT_ORCHESTRATORS sets how often it is killed (default 20; the full tier uses 200).
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import Ledger, Plugin, Scenario, Step, cleaning_up, finished, wait_for

from update_all.core import processes
from update_all.core.evidence import Evidence
from update_all.core.processes import ShimClient
from update_all.core.streaming import StepStartEvent

KILLS = int(os.environ.get("UPDATE_ALL_FAULT_ORCHESTRATORS", "20"))
PARTS = 5
LENGTHS = (0.05, 0.2, 0.4, 0.6, 0.8)


def reattached(scenario: Scenario) -> int:
    return sum(event.reattached for event in scenario.events() if isinstance(event, StepStartEvent))


def killed_while_running(directory: Path, after: float) -> tuple[Scenario, Ledger]:
    """Six steps that must not be repeated, side by side; the orchestrator is killed once all have begun.

    One of them goes on until a resume has re-attached to it; of the others some have ended by then.
    """
    ledger = Ledger(directory / "ledger")
    gate = directory / "gate"
    ends: list[float | Path] = [*LENGTHS, gate]
    plugins = [
        Plugin(f"p{number}", [Step(f"s{number}", [ledger.worker(f"s{number}", end)], idempotent=False)])
        for number, end in enumerate(ends)
    ]
    scenario = Scenario(directory, *plugins)
    with cleaning_up(scenario):
        with scenario.started() as process:
            wait_for("all steps", lambda: ledger.count("start") == len(plugins))
            time.sleep(after)
            process.kill()
            finished(process)
        with scenario.started("--resume") as process:
            wait_for("the re-attachment", lambda: reattached(scenario))
            gate.touch()
            report = finished(process)
        assert report.exit == 0, report
        wait_for("the end of every process", lambda: not scenario.living())
    return scenario, ledger


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_step_is_ever_started_a_second_time(
    tmp_path: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(part)  # noqa: S311 - instants of kills
    kills = -(-KILLS // PARTS)
    for number in range(kills):
        scenario, ledger = killed_while_running(tmp_path / str(number), chance.uniform(0.0, 0.5))
        names = [f"s{step}" for step in range(len(LENGTHS) + 1)]
        assert sorted(entry.name for entry in ledger.entries() if entry.what == "start") == names, number
        assert sorted(entry.name for entry in ledger.entries() if entry.what == "end") == names, number
        assert ledger.count("overlap") == 0
        assert scenario.completed() == set(names)
        assert all(end.success for end in scenario.ends().values())
    record_property("kills", kills)


class StillbornOnce(subprocess.Popen[bytes]):
    """A first shim that is dead before it has heard anything."""

    born = 0

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[call-overload]
        StillbornOnce.born += 1
        if StillbornOnce.born <= 1:
            self.kill()
            self.wait()


def test_shim_that_dies_at_birth_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StillbornOnce, "born", 0)
    monkeypatch.setattr(f"{processes.__name__}.subprocess.Popen", StillbornOnce)

    async def scenario() -> int:
        client = ShimClient(Evidence(tmp_path), os.environ)
        try:
            async with asyncio.timeout(30):
                return (await (await client.start("k", ["sh", "-c", "exit 7"])).exited).code
        finally:
            client.close()

    assert asyncio.run(scenario()) == 7
    assert StillbornOnce.born == 2

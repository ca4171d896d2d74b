"""What the tests of plugins that install archives share."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from update_all.plugins.base import BasePlugin

sys.path.insert(0, str(Path(__file__).parent.parent / "cli"))
from cli_machine import Machine, machine_at

__all__ = ["Machine", "configure", "machine_at", "printed", "run_step"]


def configure(machine: Machine, plugin: str, directory: Path, options: Mapping[str, str]) -> Path:
    """Tell a machine where the program is and who publishes it; the directory."""
    directory.parent.mkdir(exist_ok=True)
    lines = [f'{name} = "{value}"' for name, value in {"directory": str(directory), **options}.items()]
    machine.config("\n".join([f"[plugin.{plugin}]", *lines]) + "\n")
    return directory


def run_step(plugin: BasePlugin, name: str) -> None:
    """One step in this process; raises what the step raises."""

    async def consume() -> None:
        step = next(step for step in plugin.get_update_steps() if step.name == name)
        assert step.execute_fn is not None
        async for _ in step.execute_fn():
            pass

    asyncio.run(consume())


def printed(*command: str | Path) -> str:
    """What a program prints, which must end well."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout

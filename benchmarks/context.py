"""Where a benchmark works: directories of its own, a private environment, the peers that are there."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Argv, Contestant, Finished, Sample, run, with_value

REPOSITORY = Path(__file__).resolve().parent.parent
_KEPT = ("PATH", "LANG", "LC_ALL", "TERM", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Context:
    """`quick` asks for small work: a smoke test. `tools` are the peers' programs by name."""

    work: Path
    tools: Mapping[str, Path]
    quick: bool = False

    def rounds(self, full: int) -> int:
        return min(full, 2) if self.quick else full

    def directory(self, name: str) -> Path:
        """A new, empty directory."""
        path = self.work / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def environment(self, home: Path, path: Path | None = None) -> dict[str, str]:
        """What a user's shell would have, in a home of its own; `path` goes before PATH."""
        env = {name: value for name, value in os.environ.items() if name in _KEPT}
        env["HOME"] = str(home)
        env["PYTHONPATH"] = str(REPOSITORY)
        for name in ("CONFIG", "STATE", "CACHE", "DATA"):
            env[f"XDG_{name}_HOME"] = str(home / name.lower())
        if path is not None:
            env["PATH"] = f"{path}{os.pathsep}{env.get('PATH', os.defpath)}"
        return env

    def has(self, *names: str) -> bool:
        return all(name in self.tools for name in names)


def program() -> list[str]:
    """The command line of update-all: the installed program where there is one."""
    installed = Path(sys.executable).with_name("update-all")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "update_all"]


def drive(context: Context, plan: Path, state: Path, *options: str) -> Finished:
    """Run a plan through the engine in a process of its own (benchmarks.engine)."""
    argv: Argv = [sys.executable, "-m", "benchmarks.engine", plan, state, *options]
    return run(argv, env=context.environment(context.work / "home"), keep_output=True)


def figure(finished: Finished, name: str) -> float:
    """A figure that the engine's process has printed about itself."""
    return float(json.loads(finished.output)[name])


def engine(context: Context, plan: Path, *options: str, of: str = "") -> Contestant:
    """The contestant that runs a plan from an empty state; `of` names the figure, default the whole time."""

    def contest() -> Sample:
        state = context.directory("state")
        finished = drive(context, plan, state, *options)
        return with_value(finished.sample, figure(finished, of)) if of else finished.sample

    return contest


def write_toml_plugins(directory: Path, texts: Mapping[str, str]) -> None:
    """TOML plugins of a user."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / f"{name}.toml").write_text(text)


def write_config(home: Path, enabled: Sequence[str]) -> None:
    """A configuration in which only these plugins take part."""
    path = home / "config" / "update-all"
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.toml").write_text(f"[plugins]\nenabled = {json.dumps(list(enabled))}\n")

"""Check everything: twenty tools whose queries take 0.2 to 3 s, as scripts that sleep and print.

The same scripts answer ours (TOML plugins), mpm (managers of its configuration) and topgrade, which has no
check: there they are its custom commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.context import Context, program, write_config, write_toml_plugins
from benchmarks.measuring import Argv, Contestant, interleave, timed
from benchmarks.peers import topgrade
from benchmarks.rows import Row, at_least, at_most

TOPIC = "Check everything"
SECONDS = (3.0, 2.5, 2.0, 1.8, 1.6, 1.4, 1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.4, 0.4, 0.3, 0.3, 0.2)
_UPDATES_EXIST = 100

_SCRIPT = """#!/bin/sh
case "$1" in
  --version) echo "{name} 2.4.1" ;;
  *) sleep {seconds}; echo "left-pad 1.0.0 -> 1.3.0"; echo "zlib 1.2.13 -> 1.3.1" ;;
esac
"""
_PLUGIN = """schema = 1
name = "{name}"
description = "A tool that takes its time"
[detect]
command = "{name}"
[outdated]
cmd = ["{name}", "outdated"]
regex = '^(?P<item>\\S+) (?P<old>\\S+) -> (?P<new>\\S+)$'
[[step]]
name = "upgrade"
description = "Upgrade"
cmd = ["{name}", "upgrade"]
"""
_MANAGER = """[mpm.overrides.{name}]
name = "{name}"
platforms = ["linux_like"]
cli_names = ["{name}"]
requirement = ">=1.0"
version_regexes = ['{name} (?P<version>\\S+)']
[mpm.overrides.{name}.operations.outdated]
args = ["outdated"]
regex = '^(?P<package_id>\\S+) (?P<installed_version>\\S+) -> (?P<latest_version>\\S+)$'
"""


def bench(context: Context) -> Iterator[Row]:
    home, tools = context.directory("home"), context.directory("tools")
    scale = 0.1 if context.quick else 1.0
    seconds = {f"tool{number:02}": value * scale for number, value in enumerate(SECONDS)}
    for name, value in seconds.items():
        script = tools / name
        script.write_text(_SCRIPT.format(name=name, seconds=value))
        script.chmod(0o755)
    write_toml_plugins(
        home / "config/update-all/plugins.d", {name: _PLUGIN.format(name=name) for name in seconds}
    )
    write_config(home, list(seconds))
    env = context.environment(home, tools)
    slowest = next(iter(seconds))
    contestants: dict[str, Contestant] = {
        "ours": timed([*program(), "check"], env=env, codes=(_UPDATES_EXIST,)),
        "slowest": timed([tools / slowest, "outdated"], env=env),
        "start-up": timed([*program(), "status"], env=env),
        **_peers(context, home, seconds, env),
    }
    results = interleave(contestants, context.rounds(2))
    floor = [
        type(slow)(slow.value + start.value, load=slow.load, others=slow.others)
        for slow, start in zip(results["slowest"], results["start-up"], strict=True)
    ]
    work = f"{len(seconds)} queries of {min(seconds.values()):g}–{max(seconds.values()):g} s"
    yield Row(TOPIC, work, "slowest query + start-up", results["ours"], floor, at_most(1.15))
    for peer in ("mpm outdated", "topgrade, as custom commands"):
        if peer in results:
            yield Row(TOPIC, work, peer, results["ours"], results[peer], at_least(5), speed=True)


def _peers(
    context: Context, home: Path, seconds: dict[str, float], env: dict[str, str]
) -> dict[str, Contestant]:
    peers: dict[str, Contestant] = {}
    if context.has("mpm"):
        config = home / "mpm.toml"
        config.write_text("".join(_MANAGER.format(name=name) for name in seconds))
        selected = [f"--{name}" for name in seconds]
        argv: Argv = [context.tools["mpm"], "--config", config, *selected, "outdated"]
        peers["mpm outdated"] = timed(argv, env=env)
    if context.has("topgrade"):
        commands = {name: f"{name} outdated" for name in seconds}
        sequential = topgrade(context.tools["topgrade"], home, commands)
        peers["topgrade, as custom commands"] = timed(sequential, env={**env, "SHELL": "/bin/sh"})
    return peers

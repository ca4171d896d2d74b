"""Start-up: what a command costs before it does anything, against the bare interpreter."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks.context import Context, program, write_toml_plugins
from benchmarks.measuring import Contestant, constant, interleave, timed, with_value
from benchmarks.rows import Row, at_most

TOPIC = "Start-up"
GOALS = {"--version": 1.5, "--help": 2.0, "status": 4.0, "plugins list": 6.0}
PASS = "python3 -c pass"
DEFINITIONS = 200
MOST_SECONDS_FOR_DEFINITIONS = 0.05

_PLUGIN = """schema = 1
name = "{name}"
description = "A tool"
[detect]
command = "{name}"
[[step]]
name = "update"
description = "Update"
cmd = ["{name}", "update"]
"""


def bench(context: Context) -> Iterator[Row]:
    home = context.directory("home")
    env = context.environment(home)
    del env["PYTHONPATH"]
    contestants: dict[str, Contestant] = {PASS: timed([sys.executable, "-c", "pass"], env=env)}
    for command in GOALS:
        contestants[command] = timed([*program(), *command.split()], env=env)
    for peer in ("mpm", "topgrade", "doit"):
        if context.has(peer):
            contestants[f"{peer} --version"] = timed([context.tools[peer], "--version"], env=env)
    contestants["configured"] = timed([*program(), "plugins", "list"], env=_configured(context))
    contestants["many"] = timed([*program(), "plugins", "list"], env=_many(context))
    for contestant in contestants.values():
        contestant()  # What is compiled or cached once is not start-up.
    results = interleave(contestants, context.rounds(25))
    for command, limit in GOALS.items():
        yield Row(TOPIC, f"update-all {command}", PASS, results[command], results[PASS], at_most(limit))
    work = "update-all plugins list, with a configuration"
    yield Row(TOPIC, work, PASS, results["configured"], results[PASS], at_most(GOALS["plugins list"]))
    more = [
        with_value(many, many.value - few.value)
        for many, few in zip(results["many"], results["plugins list"], strict=True)
    ]
    work = f"{DEFINITIONS} definitions of a user, above the list without them"
    yield Row(TOPIC, work, "limit", more, constant(MOST_SECONDS_FOR_DEFINITIONS), at_most(1))
    for peer in ("mpm", "topgrade", "doit"):
        name = f"{peer} --version"
        if name in results:
            yield Row(TOPIC, "update-all --version", name, results["--version"], results[name])


def _configured(context: Context) -> dict[str, str]:
    home = context.directory("configured")
    (home / "config/update-all").mkdir(parents=True)
    (home / "config/update-all/config.toml").write_text("jobs = 4\n[plugin.apt]\ntimeout_seconds = 600\n")
    return context.environment(home)


def _many(context: Context) -> dict[str, str]:
    home = context.directory("many")
    names = [f"tool{number:03}" for number in range(DEFINITIONS)]
    texts = {name: _PLUGIN.format(name=name) for name in names}
    write_toml_plugins(home / "config/update-all/plugins.d", texts)
    return context.environment(home)

"""Memory: a run of forty plugins through the command line, and what all shipped definitions take of one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from benchmarks.context import Context, write_config, write_toml_plugins
from benchmarks.measuring import Argv, Sample, constant, run, with_value
from benchmarks.rows import Row, at_most

TOPIC = "Memory"
MOST_BYTES = 80e6
MOST_CATALOGUE_BYTES = 5e6

_PLUGIN = """schema = 1
name = "{name}"
description = "A tool"
[detect]
command = "sh"
[outdated]
cmd = ["echo", "left-pad 1.0 -> 2.0"]
regex = '^(?P<item>\\S+) (?P<old>\\S+) -> (?P<new>\\S+)$'
[[step]]
name = "fetch"
description = "Fetch"
cmd = ["echo", "fetched"]
phase = "download"
[[step]]
name = "install"
description = "Install"
cmd = ["echo", "installed"]
depends-on = ["fetch"]
[[step]]
name = "clean"
description = "Clean"
cmd = ["echo", "cleaned"]
depends-on = ["install"]
"""
# What every run imports comes first: it is no part of the definitions.
_CATALOGUE = """
import gc
import update_all.api, update_all.cli.run, update_all.core.session, update_all.plugins.declarative
from update_all.cli.workspace import Workspace
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
workspace = Workspace.open()
registry = workspace.registry
names = registry.names()
registry.load(names[-1])
gc.collect()
before = resident()
plugins = [registry.load(name) for name in names]
print(resident() - before)
"""


def bench(context: Context) -> Iterator[Row]:
    home = context.directory("home")
    names = [f"tool{number:02}" for number in range(40)]
    write_toml_plugins(
        home / "config/update-all/plugins.d", {name: _PLUGIN.format(name=name) for name in names}
    )
    write_config(home, names)
    env = context.environment(home)
    used = home / "used.json"
    argv: Argv = [sys.executable, "-m", "benchmarks.observed", used, "run", "--yes", "--progress", "plain"]
    peaks: list[Sample] = []
    catalogues: list[Sample] = []
    for _ in range(context.rounds(3)):
        sample = run(argv, env=env).sample
        peaks.append(with_value(sample, json.loads(used.read_text())["peak"]))
        loaded = run([sys.executable, "-c", _CATALOGUE], env=env, keep_output=True)
        catalogues.append(with_value(loaded.sample, float(loaded.output)))
    yield Row(
        TOPIC, "peak of a run of 40 plugins", "limit", peaks, constant(MOST_BYTES), at_most(1), unit="bytes"
    )
    title = "all definitions of the catalogue, loaded beside the engine"
    yield Row(TOPIC, title, "limit", catalogues, constant(MOST_CATALOGUE_BYTES), at_most(1), unit="bytes")

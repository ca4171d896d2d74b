"""Where plugins are found, which one wins, and that a broken or hostile one is refused alone, by name."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from update_all.core.errors import InvalidDefinitionError, UsageError
from update_all.core.models import CheckStatus
from update_all.plugins import sources
from update_all.plugins.base import BasePlugin
from update_all.plugins.builtin import BUILT_IN, CATALOGUE
from update_all.plugins.declarative import DeclarativePlugin
from update_all.plugins.registry import Entry, discover, entry_points, order_between
from update_all.plugins.sources import MAX_DEFINITION_BYTES, Kind, Origin, SearchPaths, distrust, scan
from update_all.plugins.template import new_definition

ROOT = os.geteuid() == 0


@pytest.fixture
def user(tmp_path: Path) -> Path:
    directory = tmp_path / "config" / "plugins.d"
    directory.mkdir(parents=True, mode=0o700)
    return directory


@pytest.fixture
def system(tmp_path: Path) -> Path:
    if not ROOT:
        pytest.skip("what the system provides must belong to root")
    directory = tmp_path / "etc" / "plugins.d"
    directory.mkdir(parents=True, mode=0o755)
    return directory


def put(directory: Path, name: str, text: str | None = None, mode: int = 0o600) -> Path:
    path = directory / f"{name}.toml"
    path.write_text(new_definition(name) if text is None else text, "utf-8")
    path.chmod(mode)
    return path


def entry(paths: SearchPaths, name: str) -> Entry:
    return next(one for one in discover(paths).entries() if one.name == name)


def test_a_file_in_the_users_directory_is_a_plugin(user: Path) -> None:
    put(user, "weather")
    found = discover(SearchPaths(user=(user,)))
    assert isinstance(found.load("weather"), DeclarativePlugin)
    assert found.origin("weather") is Origin.USER
    assert set(BUILT_IN) < set(found.names())


def test_the_users_wins_over_the_systems_over_the_built_in(user: Path, system: Path) -> None:
    put(system, "flatpak", mode=0o644)
    paths = SearchPaths(user=(user,), system=(system,))
    assert entry(paths, "flatpak").origin is Origin.SYSTEM
    mine = put(user, "flatpak")
    found = entry(paths, "flatpak")
    assert (found.origin, found.place) == (Origin.USER, str(mine))
    assert [text.split(" (")[0] for text in found.overrides] == ["system", "built-in"]


def test_a_broken_override_does_not_fall_back_to_another_definition(user: Path) -> None:
    put(user, "rustup", "schema = 1\n")
    found = discover(SearchPaths(user=(user,)))
    with pytest.raises(InvalidDefinitionError, match="lacks the key"):
        found.load("rustup")
    assert [broken.name for broken in found.broken()] == ["rustup"]


HOSTILE = {
    "unknown-key": new_definition("unknown-key") + "\n[extra]\n",
    "wrong-type": new_definition("wrong-type").replace('cmd = ["wrong-type", "update", "--yes"]', "cmd = 7"),
    "explosive": new_definition("explosive").replace(
        "[[mutex]]", '[outdated]\ncmd=["x"]\nregex="(a+)+$"\n[[mutex]]'
    ),
    "huge": "# " + "x" * (MAX_DEFINITION_BYTES + 1),
    "nul": "name = '\0'",
    "other-name": new_definition("another"),
    "climbing": new_definition("climbing").replace('cmd = ["climbing"', 'cmd = ["../../bin/sh"'),
    "not-text": "\udcff\udcfe",
    "deep": "x = " + "{a = " * 3000,
}


def test_each_hostile_definition_is_refused_by_name_and_all_others_work(user: Path) -> None:
    put(user, "good")
    for name, text in HOSTILE.items():
        (user / f"{name}.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
        (user / f"{name}.toml").chmod(0o600)
    os.mkfifo(user / "pipe.toml")
    (user / "gone.toml").symlink_to(user / "nowhere")
    (user / "-rf.toml").write_text("")
    (user / "folder.toml").mkdir()
    found = discover(SearchPaths(user=(user,)))
    broken = {one.name: one.reason for one in found.broken()}
    assert set(broken) == {*HOSTILE, "pipe", "gone", "-rf", "folder"}
    assert all(broken.values())
    assert found.load("good").name == "good"
    for name in broken:
        with pytest.raises(InvalidDefinitionError):
            found.load(name)


def test_ten_megabytes_are_not_read(user: Path) -> None:
    with (user / "big.toml").open("wb") as file:
        file.truncate(10 * 1024 * 1024)
    (reason,) = (one.reason for one in discover(SearchPaths(user=(user,))).broken())
    assert "256 KiB" in reason


def test_the_same_name_twice_in_one_directory(user: Path) -> None:
    put(user, "twice")
    (user / "twice").write_text("#!/bin/sh\n")
    (user / "twice").chmod(0o700)
    reasons = [one.refused for one in scan(user, Origin.USER)]
    assert reasons == ["", "twice in the same directory has the same name"]


def test_hidden_files_backups_and_notes_are_no_plugins(user: Path) -> None:
    for name in (".secret.toml", "old.toml~", "README", "notes.txt"):
        (user / name).write_text("")
    assert list(scan(user, Origin.USER)) == []
    assert list(scan(user / "nowhere", Origin.USER)) == []


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "origin", "euid", "reason"),
    [
        (1000, 1000, 0o644, Origin.USER, 1000, ""),
        (1000, 1000, 0o664, Origin.USER, 1000, ""),
        (0, 0, 0o644, Origin.USER, 1000, ""),
        (1000, 1000, 0o666, Origin.USER, 1000, "writable by everybody"),
        (1001, 1001, 0o644, Origin.USER, 1000, "belongs to user 1001"),
        (1000, 1000, 0o644, Origin.USER, 0, "belongs to user 1000"),
        (0, 1000, 0o664, Origin.USER, 0, "writable by its group"),
        (0, 0, 0o644, Origin.SYSTEM, 1000, ""),
        (1000, 1000, 0o644, Origin.SYSTEM, 1000, "belongs to user 1000"),
        (0, 4, 0o664, Origin.SYSTEM, 1000, "writable by its group"),
        (0, 0, 0o646, Origin.SYSTEM, 0, "writable by everybody"),
    ],
)
def test_who_may_have_written_it(
    uid: int, gid: int, mode: int, origin: Origin, euid: int, reason: str
) -> None:
    status = os.stat_result((0o100000 | mode, 1, 1, 1, uid, gid, 10, 0, 0, 0))
    found = distrust(status, origin, euid)
    assert reason in found
    assert bool(reason) == bool(found)


def test_a_directory_that_others_write_to_is_refused_with_all_it_holds(user: Path) -> None:
    put(user, "good")
    user.chmod(0o777)
    (reason,) = (one.reason for one in discover(SearchPaths(user=(user,))).broken())
    assert str(user) in reason
    assert "chmod o-w" in reason


@pytest.mark.skipif(not ROOT, reason="needs chown")
def test_a_file_of_another_user_in_the_systems_directory_is_refused(system: Path) -> None:
    os.chown(put(system, "foreign", mode=0o644), 1000, 1000)
    put(system, "good", mode=0o644)
    found = discover(SearchPaths(system=(system,)))
    assert [one.name for one in found.broken()] == ["foreign"]
    assert found.load("good").name == "good"


def test_an_unknown_name_has_a_suggestion() -> None:
    with pytest.raises(UsageError, match="no plugin 'flatpack'") as caught:
        discover(SearchPaths()).load("flatpack")
    assert "'flatpak'" in caught.value.hint


def test_the_table_of_built_ins_is_sorted_and_complete() -> None:
    assert list(BUILT_IN) == sorted(BUILT_IN)
    files = {place for place in BUILT_IN.values() if place.endswith(".toml")}
    assert files == {path.name for path in CATALOGUE.glob("*.toml")}
    assert all(BUILT_IN[name] == f"{name}.toml" for name in BUILT_IN if BUILT_IN[name].endswith(".toml"))


def test_what_was_parsed_is_not_parsed_again(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        put(user, f"tool{number}")
    paths = SearchPaths(user=(user,), cache=tmp_path / "cache")
    first = discover(paths).entries()
    read: list[str] = []
    real = sources.read_definition_text

    def noted(path: Path, origin: Origin) -> tuple[str, tuple[int, int, int, int]]:
        read.append(path.name)
        return real(path, origin)

    monkeypatch.setattr("update_all.plugins.registry.read_definition_text", noted)
    assert discover(paths).entries() == first
    assert read == []
    put(user, "tool7", new_definition("tool7").replace("Update everything", "Update all"))
    assert discover(paths).entries() == first
    assert read == ["tool7.toml"]
    for name in ("plugins.json", "plugins.msgpack"):
        (tmp_path / "cache" / name).write_bytes(b"garbage")
    assert discover(paths).entries() == first
    for name in ("plugins.json", "plugins.msgpack"):
        (tmp_path / "cache" / name).chmod(0o666)
    read.clear()
    assert discover(paths).entries() == first
    assert len(read) >= 20


def test_an_executable_is_described_once(user: Path, tmp_path: Path) -> None:
    script = user / "counter"
    count = tmp_path / "count"
    step = {"name": "a", "description": "A"}
    answer = [
        {"type": "hello", "protocol": 1},
        {"type": "plugin", "name": "counter", "description": "d", "steps": [step]},
        {"type": "end"},
    ]
    lines = "\n".join(json.dumps(message) for message in answer)
    script.write_text(f"#!/bin/sh\necho x >> {count}\ncat <<'X'\n{lines}\nX\n")
    script.chmod(0o700)
    paths = SearchPaths(user=(user,), cache=tmp_path / "cache")
    assert entry(paths, "counter").kind is Kind.EXECUTABLE
    assert not count.exists()
    for _ in range(3):
        assert discover(paths).load("counter").description == "d"
    assert count.read_text() == "x\n"


def test_loading_an_executable_inside_a_running_loop(user: Path) -> None:
    (user / "bad").write_text("#!/bin/sh\nexit 9\n")
    (user / "bad").chmod(0o700)

    async def load() -> None:
        with pytest.raises(InvalidDefinitionError, match="speaks no known protocol"):
            discover(SearchPaths(user=(user,))).load("bad")

    asyncio.run(load())


PACKAGE = """
from update_all.api import BasePlugin, UpdateCommand

class Plugin(BasePlugin):
    name = "third"
    command = "true"

    def get_update_commands(self, dry_run=False):
        return [UpdateCommand(["true"])]

class Impostor(Plugin):
    name = "apt"

class Explosive(Plugin):
    def __init__(self, config=None):
        raise RuntimeError("boom")
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    site = tmp_path / "site"
    metadata = site / "third_party-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "third_party_plugin.py").write_text(PACKAGE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    points = {
        "third": "Plugin",
        "explosive": "Explosive",
        "impostor": "Impostor",
        "missing": "Nothing",
    }
    lines = [f"{name} = third_party_plugin:{cls}" for name, cls in points.items()]
    (metadata / "entry_points.txt").write_text("[update_all.plugins]\n" + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(site))
    yield "third-party"
    sys.modules.pop("third_party_plugin", None)


def test_entry_points_are_off_until_trusted(distribution: str) -> None:
    assert "third" not in discover(SearchPaths()).names()
    refused = {one.name: one.refused for one in entry_points(frozenset())}
    assert "not trusted" in refused["third"]
    trusting = discover(SearchPaths(trusted=frozenset({distribution})))
    plugin = trusting.load("third")
    assert isinstance(plugin, BasePlugin)
    assert plugin.third_party
    for name, reason in (("explosive", "boom"), ("impostor", "'apt'"), ("missing", "AttributeError")):
        with pytest.raises(InvalidDefinitionError, match=reason):
            trusting.load(name)


def test_before_and_after_count_where_both_take_part(user: Path) -> None:
    head = new_definition("late").replace("[detect]", 'after = ["early", "absent"]\n[detect]')
    put(user, "late", head)
    put(user, "early", new_definition("early").replace("[detect]", 'before = ["middle", "absent"]\n[detect]'))
    put(user, "middle")
    found = discover(SearchPaths(user=(user,)))
    plugins = [found.load(name) for name in ("late", "middle", "early")]
    assert order_between(plugins) == {"late": ("early",), "middle": ("early",), "early": ()}


def test_a_new_tool_is_added_by_a_file_alone(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "weather"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n[ $1 = outdated ] && echo rain 1 2\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    outdated = "[outdated]\ncmd = ['weather', 'outdated']\ncolumns = ['item', 'old', 'new']\n[[mutex]]"
    put(user, "weather", new_definition("weather").replace("[[mutex]]", outdated))
    plugin = discover(SearchPaths(user=(user,))).load("weather")
    assert plugin.detect().present
    assert asyncio.run(plugin.check()).status is CheckStatus.UPDATES

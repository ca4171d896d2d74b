"""Configuration: layers and origins, and that nothing wrong passes in silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from enum import StrEnum
from importlib import resources

import pytest
from configured import EXAMPLE, write
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.config import LoadedConfig, load_config, statement_lines, variable_name
from update_all.core.config_json_schema import json_schema, json_schema_text
from update_all.core.config_schema import Config, Confirm, Guard, SudoCommand, keys, parse_rate
from update_all.core.errors import ConfigError
from update_all.core.models import JsonValue
from update_all.core.paths import Directories


def load(home: Directories, text: str | None = None, **environ: str) -> LoadedConfig:
    if text is not None:
        write(home.config / "config.toml", text)
    return load_config(home, environ=environ)


def test_without_files_there_are_defaults_and_no_parser_is_imported(home: Directories) -> None:
    assert load(home).config == Config()
    script = (
        "import sys, pathlib\n"
        "from update_all.core.config import load_config\n"
        "from update_all.core.paths import Directories\n"
        "nowhere = pathlib.Path('/nonexistent')\n"
        "load_config(Directories(nowhere, nowhere, nowhere, nowhere), environ={})\n"
        "assert not {'tomllib', 'tomlkit', 'msgspec'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_key_of_the_example_arrives(home: Directories) -> None:
    config = load(home, EXAMPLE).config
    assert (config.jobs, config.confirm, config.exclude) == (4, Confirm.NEVER, ("texlive",))
    assert (config.network.downloads, config.network.limit) == (2, 8_000_000)
    assert config.guards.metered is Guard.REFUSE
    assert not config.sudo.keepalive
    assert config.sudo.command is SudoCommand.AUTO
    assert config.notify.ntfy == "https://ntfy.example/my-topic"
    assert config.limits == {"network": 2}
    assert config.hooks.after == ("~/bin/after-updates",)
    assert not config.for_plugin("go-runtime").enabled
    assert config.for_plugin("go-runtime").options == {"apps": "~/apps"}
    assert config.for_plugin("apt").enabled


def test_later_sources_win_and_each_value_names_its_own(home: Directories) -> None:
    system = write(home.system_config / "config.toml", 'jobs = 1\nkeep_runs = 1\nexclude = ["a"]\n')
    user = write(
        home.config / "config.toml", "\njobs = 2\n[network]\ndownloads = 2\n[plugin.apt]\nmode = 1\n"
    )
    first = write(home.config / "config.d/10.toml", "jobs = 3\nfail_fast = true\n")
    last = write(home.config / "config.d/20.toml", "# c\n\njobs = 4\n[plugin.apt]\nenabled = false\n")
    write(home.config / "config.d/.hidden.toml", "nonsense")
    write(home.config / "config.d/readme.txt", "nonsense")
    environ = {"UPDATE_ALL_NETWORK_DOWNLOADS": "6", "UPDATE_ALL_COMMAND": "x", "UPDATE_ALL_JOBS": ""}
    loaded = load_config(home, environ=environ, overrides={"confirm": "never"})
    assert loaded.files == (system, user, first, last)
    assert loaded.config.jobs == 4
    assert loaded.config.plugin["apt"].options == {"mode": 1}
    shown = {setting.key: (setting.value, setting.origin) for setting in loaded.settings()}
    assert shown["jobs"] == (4, f"{last}:3")
    assert shown["keep_runs"] == (1, f"{system}:2")
    assert shown["exclude"] == (["a"], f"{system}:3")
    assert shown["fail_fast"] == (True, f"{first}:2")
    assert shown["network.downloads"] == (6, "environment UPDATE_ALL_NETWORK_DOWNLOADS")
    assert shown["confirm"] == ("never", "command line")
    assert shown["sudo.keepalive"] == (True, "default")
    assert shown["plugin.apt.mode"] == (1, f"{user}:6")
    assert shown["plugin.apt.enabled"] == (False, f"{last}:5")
    assert set(shown) >= {key.name for key in keys().values()}
    assert loaded.origin("plugin.apt") == f"{user}:6"
    assert loaded.origin("plugin.npm") == "default"


@pytest.mark.parametrize(
    ("text", "line", "key", "hint"),
    [
        ("# a comment\njbos = 4\n", 2, "jbos", "did you mean jobs?"),
        (
            "jobs = 4\n\n[network]\n# c\ndownlaods = 2\n",
            5,
            "network.downlaods",
            "did you mean network.downloads?",
        ),
        ('exclude = [\n "a",\n "b",\n]\nkeepalive = true\n', 5, "keepalive", "did you mean sudo.keepalive?"),
        ("guards.metred = 'warn'\n", 1, "guards.metred", "did you mean guards.metered?"),
        (
            "[plugin.apt]\nx = 1\nenabeld = false\n",
            3,
            "plugin.apt.enabeld",
            "did you mean plugin.apt.enabled?",
        ),
        ("sudo = { keep-alive = true }\n", 1, "sudo.keep-alive", "did you mean sudo.keepalive?"),
        ('a = """\njobs = 1\n"""\n', 1, "a", "update-all config show"),
        ("jobs = 1\n[ 'netwrok' ]\ndownloads = 1\n", 2, "netwrok", ""),
    ],
)
def test_an_unknown_key_names_file_line_and_the_nearest_one(
    home: Directories, text: str, line: int, key: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(home, text)
    assert caught.value.message == f"{home.config}/config.toml:{line}: unknown key {key}"
    assert not hint or caught.value.hint == hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("jobs = 0", 1, "jobs must be a whole number, at least 1, got 0"),
        ("jobs = true", 1, "jobs must be a whole number"),
        ("jobs = 2.0", 1, "jobs must be a whole number"),
        ("[sudo]\nkeepalive = 'yes'", 2, "sudo.keepalive must be true or false, got 'yes'"),
        ("confirm = 'alwys'", 1, "confirm must be one of auto, always, never"),
        ("confirm = 3", 1, "confirm must be one of"),
        ("exclude = 'apt'", 1, "exclude must be a list of strings"),
        ("exclude = ['apt', 3]", 1, "exclude must be a list of strings"),
        ("\n[network]\nlimit = '8 parsecs'", 3, "network.limit must be bytes per second"),
        ("[network]\nlimit = 0", 2, "network.limit must be bytes per second"),
        ("[network]\nlimit = '0 MB/s'", 2, "network.limit must be bytes per second"),
        ("network = 3", 1, "network must be a table, got 3"),
        ("[jobs]\na = 1", 1, "jobs must be a whole number"),
        ("[limits]\ndpkg = 0", 2, "limits.dpkg must be a whole number, at least 1"),
        ("[plugin]\napt = false", 2, "plugin.apt must be a table"),
        ("[plugin.apt]\nenabled = 1", 2, "plugin.apt.enabled must be true or false"),
        ("[plugin.apt]\nsince = 2024-01-01", 2, "plugin.apt.since must be a string, number"),
        ("[plugin.apt]\nx = nan", 2, "plugin.apt.x must be"),
        ("[plugin.'a b']\nx = 1", 1, "cannot be the name of a plugin"),
        ("[notify]\nntfy = 'file:///etc'", 2, "notify.ntfy must be a string like"),
    ],
)
def test_a_bad_value_names_file_line_key_and_what_is_wanted(
    home: Directories, text: str, line: int, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(home, text)
    assert caught.value.message.startswith(f"{home.config}/config.toml:{line}: ")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"jobs = 1\njobs = = 2\n", "config.toml:2: Invalid value (column 8)"),
        (b"jobs = 1\nexclude = [\n\n", "config.toml:4: "),
        (b"jobs = 1\n\xff\n", "config.toml:2: the text is not UTF-8"),
        (b"jobs = " + b"9" * 5000, "config.toml:1: "),
        (b"[plugin.x]\na = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * 300_000, "262144 bytes"),
    ],
)
def test_a_file_that_is_no_toml_is_an_error_with_its_line(
    home: Directories, content: bytes, words: str
) -> None:
    (home.config / "config.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(home)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("UPDATE_ALL_JBOS", "3", "unknown variable UPDATE_ALL_JBOS"),
        ("UPDATE_ALL_JOBS", "many", "environment UPDATE_ALL_JOBS: jobs must be a whole number"),
        ("UPDATE_ALL_FAIL_FAST", "maybe", "fail_fast must be true or false"),
        ("UPDATE_ALL_EXCLUDE", "[1]", "exclude must be a list of strings"),
        ("UPDATE_ALL_EXCLUDE", "['a'", "exclude must be a list of strings"),
    ],
)
def test_a_wrong_variable_is_an_error(home: Directories, variable: str, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(home, **{variable: text})
    assert words in caught.value.message


def test_every_key_can_be_set_by_a_variable(home: Directories) -> None:
    texts = {bool: "off", int: "7", str: "http://x", tuple: " a, b ,"}
    wanted: dict[type, object] = {bool: False, int: 7, str: "http://x", tuple: ("a", "b")}
    for path, key in keys().items():
        choices = key.kind.__members__ if issubclass(key.kind, StrEnum) else {}
        text = texts.get(key.kind) or str(list(choices.values())[-1])
        config: object = load(home, **{variable_name(path): text}).config
        for part in path:
            config = getattr(config, part)
        assert config == wanted.get(key.kind, text), path
    assert load(home, UPDATE_ALL_HOOKS_AFTER='["a, b", "c"]').config.hooks.after == ("a, b", "c")
    assert load(home, UPDATE_ALL_NETWORK_LIMIT="2 MiB/s").config.network.limit == 2 * 1024 * 1024


@pytest.mark.parametrize("name", ["", "jobs = 1\nx", "a.b.c.d", "limits", "[x]", "=", "jobs.more"])
def test_a_wrong_key_on_the_command_line_is_an_error(home: Directories, name: str) -> None:
    with pytest.raises(ConfigError, match=r"^command line: "):
        load_config(home, environ={}, overrides={name: 1})


def test_a_file_that_others_can_write_is_refused(home: Directories) -> None:
    path = write(home.config / "config.toml", "jobs = 1")
    path.chmod(0o602)
    with pytest.raises(ConfigError, match="written by others") as caught:
        load(home)
    assert caught.value.hint == f"chmod go-w {path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is that strict, and can give a file away")
def test_root_trusts_no_file_of_a_user_or_a_group(home: Directories) -> None:
    path = write(home.config / "config.toml", "jobs = 1")
    path.chmod(0o660)
    with pytest.raises(ConfigError, match="written by others"):
        load(home)
    path.chmod(0o600)
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        load(home)


def test_a_fifo_a_directory_and_a_broken_link_are_errors_and_block_nothing(home: Directories) -> None:
    path = home.config / "config.toml"
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        load(home)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="not a regular file"):
        load(home)
    path.rmdir()
    path.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(home)


NAMES = st.sampled_from(["a", "b-c", '"x y"', '"é"'])
VALUES = st.sampled_from(
    [
        "1",
        "true",
        '"s"',
        "[1,\n 2 ,\n]",
        '"""\n[a]\nb = 1\n"""',
        "'''\n'''",
        "{ k = 1, l.m = 2 }",
        "[[1], [\n]]",
    ]
)


@given(
    st.lists(st.tuples(st.booleans(), NAMES, VALUES, st.sampled_from(["", "# [c]\n", "\n\n"])), max_size=12)
)
def test_statement_lines_finds_each_key_where_it_stands(items: list[tuple[bool, str, str, str]]) -> None:
    text = ""
    wanted: dict[tuple[str, ...], int] = {}
    header: tuple[str, ...] = ()
    for number, (is_header, name, value, before) in enumerate(items):
        text += before
        line = text.count("\n") + 1
        unique = f"{name.strip(chr(34))}{number}"
        quoted = json.dumps(unique, ensure_ascii=False)
        if is_header:
            header = (unique,)
            wanted[header] = line
            text += f"  [ {quoted} ] # x = 1\n"
        else:
            wanted[(*header, unique)] = line
            text += f"{quoted} = {value}\n"
    lines = statement_lines(text)
    assert {path: lines[path] for path in wanted} == wanted


@given(st.integers(0, 10**9), st.sampled_from(["", " "]), st.sampled_from(["", "/s"]))
def test_parse_rate(number: int, space: str, per: str) -> None:
    factors = {"B": 1, "kB": 1000, "KB": 1000, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}
    for unit, factor in factors.items():
        assert parse_rate(f"{number}{space}{unit}{per}") == number * factor


def test_the_shipped_schema_is_the_generated_one() -> None:
    shipped = resources.files("update_all.core").joinpath("schema/config.schema.json")
    regenerate = (
        "python -m update_all.core.config_json_schema > src/update_all/core/schema/config.schema.json"
    )
    assert shipped.read_text(encoding="utf-8") == json_schema_text(), regenerate


def test_the_schema_has_every_key_and_its_default() -> None:
    for path, key in keys().items():
        node: JsonValue = json_schema()
        for part in path:
            assert isinstance(node, dict)
            assert node["additionalProperties"] is False
            properties = node["properties"]
            assert isinstance(properties, dict)
            node = properties[part]
        assert isinstance(node, dict)
        assert node["description"] == key.doc
        if key.default is not None:
            assert key.check(node["default"]) == key.default

"""Everything that reads what others wrote, fed with broken forms of it: an answer or a typed error, no more.

UPDATE_ALL_FAULT_FUZZ sets the inputs for each target (default 1,500; the full tier uses 1,000,000).
"""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import cmp_to_key
from itertools import islice
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "core"))
from mutation import mutants
from state_documents import state_to

from update_all.core.cleaning import Cleaner, clean
from update_all.core.config import load_config
from update_all.core.errors import DownloadError, StepError, UpdateAllError
from update_all.core.journal import read_events
from update_all.core.json_reading import Reader, loads
from update_all.core.models import StepExecutionState, StepResult
from update_all.core.paths import Directories
from update_all.core.state_json import state_from
from update_all.core.streaming import StepEndEvent, WarningEvent
from update_all.core.transitions import PluginState, end_record, start_record
from update_all.downloads.transport import retry_after
from update_all.downloads.verify import digest_from_sums, read_status
from update_all.downloads.versions import version_key
from update_all.plugins import apt_output, cargo, go_runtime, npm, pipx, python_packages, semver, uv
from update_all.plugins.builtin import CATALOGUE
from update_all.plugins.decoding import parse_definition
from update_all.plugins.definition import Definition
from update_all.plugins.external import older_progress
from update_all.plugins.parsers import NoAnswerError, is_newer, json_path, read_answer, size_bytes, to_changes
from update_all.plugins.protocol import Answer, Exchange, ProtocolError
from update_all.plugins.validation import QUERIES

INPUTS = int(os.environ.get("UPDATE_ALL_FAULT_FUZZ", "1500"))
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
PARTS = 2
VERSIONS = [b"1.2.3", b"go1.22rc1", b"2:8.2.2434-3+deb12u1", b"1.0-alpha.1+build", b"v20.11.0", b"2024.09"]
DEFINITIONS = sorted(CATALOGUE.glob("*.toml"))


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def a_state() -> PluginState:
    state = PluginState("r", StepExecutionState("apt"), fingerprint="f", facts={"version": "1.0"})
    for number, record in enumerate(
        (start_record("a", 1, 2), end_record(StepResult("a", success=True), {}), start_record("b", 1, 1)), 1
    ):
        state.apply({"n": number, "at": "2026-01-01T00:00:00+00:00", **record})
    return state


def load_state(data: bytes) -> None:
    try:
        state_to(state_from(loads(data)))
    except ValueError:
        return


def replay_records(data: bytes) -> None:
    state = a_state()
    try:
        for line in data.split(b"\n"):
            state.apply(dict(Reader(loads(line), "record").data))
        state_to(state)
    except ValueError:
        return


def load_definition(data: bytes) -> None:
    try:
        parse_definition(text(data), "x.toml")
    except UpdateAllError:
        return


def read_answer_lines(data: bytes) -> None:
    for exchange in Exchange:
        answer = Answer(exchange)
        try:
            for line in data.split(b"\n"):
                answer.feed(line)
            answer.finish(0)
        except ProtocolError:
            continue


def read_older_lines(data: bytes) -> None:
    for line in clean(text(data), ()).splitlines():
        try:
            older_progress("p", "s", line)
        except StepError:
            continue


def read_feeds(data: bytes) -> None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    go_runtime.stable_archives(document, "amd64")
    said = text(data)
    read_status(0, said)
    retry_after(said, 1.7e9)
    try:
        digest_from_sums(said, "tool.tar.gz")
    except DownloadError:
        return


def precedence(first: str, second: str) -> int:
    return semver.is_newer(first, second) - semver.is_newer(second, first)


def compare_versions(data: bytes) -> None:
    versions = text(data).split("|")
    keys = [version_key(version) for version in versions]
    assert sorted(keys) == sorted(sorted(keys, reverse=True))
    for first, second in zip(versions, reversed(versions), strict=True):
        assert not (semver.is_newer(first, second) and semver.is_newer(second, first))
        assert not is_newer(first, first)
    sorted(versions, key=cmp_to_key(precedence))
    size_bytes(text(data))


def compile_paths(data: bytes) -> None:
    try:
        json_path(text(data))
    except ValueError:
        return


PARSERS: list[Callable[[str], object]] = [
    apt_output.parse_simulation,
    apt_output.parse_sizes,
    apt_output.parse_places,
    lambda said: apt_output.parse_installed(said, "amd64"),
    cargo.parse_crates,
    cargo.parse_additions,
    npm.parse_outdated,
    npm.parse_installed,
    pipx.parse_environments,
    python_packages.parse_outdated,
    python_packages.parse_index_versions,
    uv.parse_tools,
    lambda said: uv.newest_by_minor(uv.parse_interpreters(said)),
]


def parse_output(data: bytes) -> None:
    said = text(data)
    for parser in PARSERS:
        try:
            parser(said)
        except StepError:
            continue


def clean_output(data: bytes) -> None:
    cleaner = Cleaner(["s3cr3t-value"])
    cut = len(data) // 3
    cleaned = cleaner.feed(data[:cut]) + cleaner.feed(data[cut:]) + cleaner.finish()
    whole = Cleaner(["s3cr3t-value"])
    assert cleaned == whole.feed(data) + whole.finish()
    assert b"s3cr3t-value" not in cleaned
    assert not {unicodedata.category(one) for one in {*cleaned.decode()} - {*"\n\t"}} & HIDDEN


def outputs() -> list[bytes]:
    return [
        b"Inst vim [2:9.0] (2:9.1 Debian:12/stable, Debian-Security:12/stable-security [amd64])\n"
        b"Conf vim (2:9.1)\n",
        b"'http://deb.example.org/pool/v/vim_9.1.deb' vim_2%3a9.1_amd64.deb 123 SHA256:ab\n",
        b"ARCHITECTURE='amd64'\nLISTS='/l'\nSTATUS='/s'\nSOURCE_LIST='/a'\nSOURCE_PARTS='/b'\n",
        b'{"installs":{"rg 1.0 (registry+https://git.example.invalid/crates.io-index)":{"features":["x"]}}}',
        b"      Adding serde v1.2.3 to dependencies\n",
        b'{"npm":{"current":"1.0.0","wanted":"1.0.1","latest":"2.0.0-rc.1","dependent":"global"}}',
        b'{"dependencies":{"npm":{"version":"1.0.0","resolved":"file:../x"}}}',
        b'{"venvs":{"x":{"metadata":{"main_package":{"package":"x","package_or_url":"x","app_paths":'
        b'[{"__Path__":"/a/bin/x"}],"pip_args":["--pre"]},"injected_packages":{"y":{"package_or_url":"y"}}}}}}',
        b'[{"name":"pip","version":"1.0","latest_version":"2.0"}]',
        b"pip (24.0)\nAvailable versions: 24.0, 23.3\n",
        b"ruff v0.1.0 [required: <2] [latest: 0.2.0]\n- ruff\n",
        b'[{"implementation":"cpython","version":"3.12.1","variant":"default"},{"version":"3.13.0rc2",'
        b'"implementation":"cpython"}]',
    ]


HELLO = b'{"type":"hello","protocol":1}\n'
TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], Sequence[bytes]]]] = {
    "state loader": (load_state, lambda: [json.dumps(state_to(a_state())).encode()]),
    "state journal": (
        replay_records,
        lambda: [
            b'{"n":4,"at":"2026-01-01T00:00:00+00:00","end":{"step_name":"b","success":true},"facts":{}}\n'
            + json.dumps({"n": 5, "at": None, **start_record("c", 1, 1)}).encode()
        ],
    ),
    "definitions in TOML": (load_definition, lambda: [path.read_bytes() for path in DEFINITIONS[::6]]),
    "protocol in lines of JSON": (
        read_answer_lines,
        lambda: [
            HELLO
            + b'{"type":"plugin","name":"x","description":"d","steps":[{"name":"s","description":"d"}]}\n'
            b'{"type":"end"}\n',
            HELLO
            + b'{"type":"update","item":"i","old":"1","new":"2","size":5}\n{"type":"end","status":"updates"}',
            HELLO + b'{"type":"progress","percent":5}\n{"type":"output","text":"t"}\n{"type":"end"}',
        ],
    ),
    "older lines of progress": (
        read_older_lines,
        lambda: [b'PROGRESS:{"type":"progress","phase":"download","percent":5,"message":"m"}\n'],
    ),
    "feeds and lists": (
        read_feeds,
        lambda: [
            b'[{"version":"go1.22","stable":true,"files":[{"os":"linux","arch":"amd64","kind":"archive",'
            b'"filename":"go.tar.gz","sha256":"ab","size":1}]}]',
            b"a" * 64 + b"  tool.tar.gz\n",
            b"SHA256 (tool.tar.gz) = " + b"b" * 64,
            b"[GNUPG:] NEWSIG\n[GNUPG:] VALIDSIG AB 2024 1 0 4 0 1 10 00 AB\n",
            b"Wed, 21 Oct 2026 07:28:00 GMT",
            b"120",
        ],
    ),
    "versions": (compare_versions, lambda: [b"|".join(VERSIONS), *VERSIONS]),
    "paths in JSON": (compile_paths, lambda: [b"data.packages[*]", b'"a.b"[0].c', b"*"]),
    "output of the tools": (parse_output, outputs),
    "cleaner": (
        clean_output,
        lambda: [b"a\x1b[1ms3cr3t-value\x1b]8;;x\x07b\x9b1m\xc2\x9d0;t\xc2\x9cz\r\n1%\r"],
    ),
}


def told(target: str, data: bytes, error: BaseException) -> str:
    return f"{target}: {type(error).__name__}: {str(error)[:200]} for {data[:2000]!r}"


@pytest.mark.filterwarnings("ignore:Possible .*:FutureWarning")
@pytest.mark.timeout(60 + INPUTS // 50)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("target", TARGETS)
def test_broken_input_is_an_answer_or_a_typed_error(
    target: str, part: int, record_property: Callable[[str, object], None]
) -> None:
    feed, seeds = TARGETS[target]
    inputs = -(-INPUTS // PARTS)
    for data in mutants(seeds(), inputs, seed=part):
        try:
            feed(data)
        except Exception as error:  # noqa: BLE001 - whatever comes out is the finding
            pytest.fail(told(target, data, error))
    record_property("cases", inputs)


def samples(definition: Definition) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for sample in definition.sample:
        if sample.of in QUERIES:
            found.setdefault(sample.of, []).append(sample.output.encode())
    return found


@pytest.mark.timeout(60 + INPUTS // 50)
def test_broken_output_of_every_tool_in_the_catalogue(
    record_property: Callable[[str, object], None],
) -> None:
    cases = 0
    each = max(5, INPUTS // len(DEFINITIONS))
    for path in DEFINITIONS:
        definition = parse_definition(path.read_text("utf-8"), path.name)
        for name, seeds in samples(definition).items():
            query = getattr(definition, name)
            for data in mutants(seeds, each):
                cases += 1
                try:
                    to_changes(read_answer(query, query.ok_codes[0], text(data), ""), definition.name)
                except NoAnswerError:
                    continue
                except Exception as error:  # noqa: BLE001 - whatever comes out is the finding
                    pytest.fail(told(f"{path.name} {name}", data, error))
    record_property("cases", cases)


def test_broken_configuration_is_an_error_with_its_file(tmp_path: Path) -> None:
    seed = (
        b'jobs = 4\nexclude = ["apt"]\n[limits]\nnetwork = 2\n[plugin.apt]\nenabled = false\n'
        b'mode = "upgrade"\n'
    )
    directories = Directories(tmp_path, tmp_path, tmp_path, tmp_path / "none")
    file = tmp_path / "config.toml"
    for data in mutants([seed], max(200, INPUTS // 100)):
        file.write_bytes(data)
        message = str(file)
        try:
            load_config(directories, environ={})
        except UpdateAllError as error:
            message = error.message
        assert str(file) in message, data


def test_broken_journal_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    events = (WarningEvent(message="m"), StepEndEvent(plugin_name="p", step_name="s"))
    seed = "".join(json.dumps(event.to_dict()) + "\n" for event in events).encode()
    file = tmp_path / "events.jsonl"
    for data in mutants([seed], max(200, INPUTS // 100)):
        file.write_bytes(data)
        assert all(offset <= len(data) for _, offset in islice(read_events(file), 10_000))


def test_the_fuzzer_finds_what_is_not_caught() -> None:
    """Without the check of its input the same stream of inputs brings a reader down."""

    def careless(data: bytes) -> None:
        json.loads(data)["schema"]

    def falls(data: bytes) -> bool:
        try:
            careless(data)
        except Exception:  # noqa: BLE001 - that it falls is the point
            return True
        return False

    assert any(falls(data) for data in mutants([json.dumps(state_to(a_state())).encode()], 100))

"""The lab's own ground: what is done in a room stays there, and nothing in it outlives it."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from room import DIRECTORIES, Room, why_not

in_a_room = pytest.mark.skipif(bool(why_not()), reason=why_not())


@in_a_room
def test_what_is_written_in_a_room_is_not_on_the_machine(tmp_path: Path) -> None:
    places = [f"{directory}/ua-lab-was-here" for directory in (*DIRECTORIES, "/run")]
    with Room(tmp_path) as room:
        room.run("touch", *places)
        assert all(room.inside(place).exists() for place in places)
        assert not any(Path(place).exists() for place in places)
    assert not any(Path(place).exists() for place in places)
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


@in_a_room
def test_a_program_of_the_room_is_found_before_the_machines(tmp_path: Path) -> None:
    with Room(tmp_path) as room:
        room.write("/opt/lab", "#!/bin/sh\necho from the room\n")
        room.inside("/opt/lab").chmod(0o755)
        room.link("git", "/opt/lab")
        assert room.run("git", "--version") == "from the room\n"


@in_a_room
@pytest.mark.parametrize("wrapper", [(), ("setsid",), ("unshare", "--mount")], ids=str)
def test_everything_in_a_room_is_killed(tmp_path: Path, wrapper: tuple[str, ...]) -> None:
    """Also what left the group, or made a namespace of its own."""
    with Room(tmp_path) as room, room.start(*wrapper, "sh", "-c", "sleep 60 & echo $!; wait") as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        room.kill()
        process.wait()
        with suppress(FileNotFoundError):
            # Nobody has collected it yet.
            assert ") Z " in Path(f"/proc/{child}/stat").read_text()
        assert room.processes() == set()


@in_a_room
def test_a_command_that_fails_is_told_with_its_output(tmp_path: Path) -> None:
    with Room(tmp_path) as room:
        with pytest.raises(AssertionError, match=r"ended with 3:\noh no"):
            room.run("sh", "-c", "echo oh no; exit 3")
        assert room.finding("sh", "-c", "echo oh no; exit 3") == "oh no"
        assert room.finding("sh", "-c", "exit 3") == "ended with 3"
        assert room.finding("sh", "-c", "echo fine") == ""


def page() -> ModuleType:
    """tools/lab.py, which is no package."""
    path = Path(__file__).parents[2] / "tools/lab.py"
    spec = importlib.util.spec_from_file_location("lab_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where dataclasses look for the names of their annotations.
    sys.modules["lab_page"] = module
    spec.loader.exec_module(module)
    return module


RESULTS = """
<testsuite>
  <testcase name="test_cycle[one]"><properties><property name="plugin" value="one"/>
    <property name="version" value="1.2"/><property name="seconds" value="3.4"/>
    <property name="seen" value="x 1 → 2"/></properties></testcase>
  <testcase name="test_offline[one]"><properties><property name="plugin" value="one"/>
    <property name="seconds" value="0.5"/><property name="seen" value="a | b"/></properties></testcase>
  <testcase name="test_killed_then_resume[one]"><properties><property name="plugin" value="one"/>
    <property name="seen" value="whole"/></properties></testcase>
  <testcase name="test_killed_then_run[one]"><properties><property name="plugin" value="one"/>
    </properties><failure message="AssertionError: no&#10;more"/></testcase>
  <testcase name="test_cycle[two]"><properties><property name="plugin" value="two"/></properties>
    <skipped type="pytest.skip" message="two: needs two"/></testcase>
</testsuite>
"""


def test_the_page_says_what_holds_what_does_not_and_what_was_not_tried() -> None:
    text = page().table(ElementTree.fromstring(RESULTS).iter("testcase"))  # noqa: S314 - written above.
    assert text.splitlines()[2:] == [
        "| one | 1.2 | 3.4 | ✔ x 1 → 2 | ✔ 0.5 s: a \\| b | ✔ (whole) | ✖ AssertionError: no |",
        "| two |  |  | not tried: needs two | not tried | not tried | not tried |",
    ]

"""A stranger's first week in a real terminal: each screen says what has happened and what to type next.

It is the week of docs/walkthrough.md, played by tools/screens.py; its package managers are shell scripts,
their publisher is on the loopback device, all else is the real program.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^<!-- screen: (\S+) -->\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="needs the repository")


@pytest.fixture(scope="module")
def screens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The screens of the week, by name."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    pytest.importorskip("rich")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(ROOT / "tools")])
        from demo import machine
        from screens import Album, week

        album = Album()
        with machine(tmp_path_factory.mktemp("week") / "home") as demo:
            week(demo, album)
    return album.texts


def commands(text: str) -> set[str]:
    """The commands of ours that a screen names."""
    return set(re.findall(r"update-all (?:resume|explain|rollback|report|history|plugins)\b[^;\n]*", text))


def test_the_first_run_asks_and_tells_what_changed(screens: dict[str, str]) -> None:
    assert "Proceed?" in screens["plan"].splitlines()[-1]
    assert re.search(r"barley +2\.4\.1 → 2\.4\.2 +security", screens["summary"])
    assert "Updated 5 items" in screens["summary"]


def test_a_waiting_plugin_names_what_it_waits_for_and_who_holds_it(screens: dict[str, str]) -> None:
    assert re.search(r"install 2/2 +waits for larder \(held by (larder|cellar):\w+\)", screens["live"])


def test_a_failure_needs_nothing_but_the_screen(screens: dict[str, str]) -> None:
    told = screens["failure"]
    assert "quill › install failed" in told
    assert "type: quill unlock" in told
    assert "No change was reported." in told
    assert {"update-all resume quill", "update-all explain step-failed"} <= commands(told)
    assert "quill:install.log" in told
    assert "update-all resume" in screens["explain-code"]


def test_the_resume_does_what_was_left(screens: dict[str, str]) -> None:
    assert re.search(r"quill-spell +1\.6\.2 → 1\.6\.3", screens["resume"])
    assert "go-runtime" not in screens["resume"]


def test_the_version_before_is_back_and_may_stay(screens: dict[str, str]) -> None:
    assert "rollback" in screens["help"]
    assert "go version go1.25.3" in screens["rollback"]
    assert "update-all plugins disable go-runtime" in commands(screens["rollback"])


def test_looking_back_leads_from_the_list_to_a_run_and_a_plugin(screens: dict[str, str]) -> None:
    assert {"update-all history RUN", "update-all report RUN"} <= commands(screens["history"])
    rolled_back, *runs = re.findall(r"^\d{8}-\d{6}-\w{6} .*", screens["history"], re.MULTILINE)
    assert re.search("1 plugin +1 change +done", rolled_back)
    assert len(runs) == 2
    assert re.search(r"quill:install +failed", screens["history-run"])
    assert re.search(r"quill-git +3\.0\.4 → 3\.0\.5", screens["history-plugin"])
    assert "done, after it had failed" in screens["explain-plugin"]


def test_the_page_shows_every_screen_that_it_names(screens: dict[str, str]) -> None:
    page = (ROOT / "docs/walkthrough.md").read_text("utf-8")
    shown = dict(BLOCK.findall(page))
    assert shown.keys() <= screens.keys()
    for name, text in shown.items():
        assert text.startswith("$ "), f"{name} was never taken: make screens"
        assert text.split()[:2] == screens[name].split()[:2]


def test_a_run_on_the_whole_terminal_leaves_its_summary_behind(screens: dict[str, str]) -> None:
    if "full-screen" not in screens:
        pytest.skip("Textual is not installed")
    assert re.search(r"│.*(europe|asia) 2026\.12: \d+%", screens["full-screen"])
    assert "The run has ended well" in screens["full-screen-timeline"]

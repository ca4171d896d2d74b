"""Make the pictures of docs/ anew: `python tools/screens.py`. Needs tmux, and Chromium for the report.

A person's week is played on the machine of tools/demo.py. What the real program shows in a real terminal
becomes docs/screens/*.svg, and the blocks of text in docs/walkthrough.md.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from demo import COLUMNS, Demo, machine
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parent.parent
SCREENS = ROOT / "docs/screens"
WALKTHROUGH = ROOT / "docs/walkthrough.md"

FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code", "ui-monospace, DejaVu Sans Mono"
)
"""rich's own, without its fonts from the network."""

THEME = TerminalTheme(
    (23, 26, 31), (214, 218, 224),
    [(23, 26, 31), (240, 113, 120), (152, 195, 121), (229, 192, 123), (110, 168, 254), (198, 146, 233),
     (86, 190, 200), (190, 195, 203)],
    [(118, 126, 138), (255, 140, 146), (175, 216, 144), (240, 210, 150), (150, 195, 255), (215, 170, 245),
     (120, 214, 222), (255, 255, 255)],
)  # fmt: skip

BLOCK = re.compile(r"(?<=^<!-- screen: )(\S+)( -->\n```text\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)


@dataclass(slots=True)
class Album:
    """The screens by name: as text, and with their colours."""

    texts: dict[str, str] = field(default_factory=dict)
    coloured: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, demo: Demo) -> None:
        self.texts[name] = demo.screen()
        self.coloured[name] = demo.screen(colours=True)


def week(demo: Demo, album: Album) -> None:
    """First run, a failure, a resume, a rollback, a look back."""
    demo.offer("larder", "barley 2.4.2 18400000 security", "oats 7.4 5200000")
    demo.offer("cellar", "cider 0.8.2 7100000")
    demo.offer("atlas", "europe 2026.11 61000000", "asia 2026.11 48000000")
    demo.offer("postbox")
    demo.offer("quill")
    demo.offer_go("1.25.3")
    demo.command("update-all", until=r"Proceed\?")
    album.take("plan", demo)
    demo.type("y", "Enter")
    demo.wait_for(r"waits for larder")
    album.take("live", demo)
    demo.wait_for(r"^\$ $")
    album.take("summary", demo)
    demo.command("update-all check")
    album.take("nothing", demo)

    demo.offer("larder", "lentils 1.12.1 3100000", "barley 2.4.2 18400000")
    demo.offer("quill", "quill-spell 1.6.3 912000 security", "quill-git 3.0.5 150000")
    demo.offer_go("1.25.4")
    demo.lock("quill")
    demo.command("update-all", until=r"Proceed\?")
    demo.type("y", "Enter")
    demo.wait_for(r"^\$ $")
    album.take("failure", demo)
    demo.command("update-all explain step-failed")
    album.take("explain-code", demo)
    demo.command(f"update-all report --output {demo.home}/report.html")
    album.take("report", demo)
    demo.command("quill unlock")
    demo.type("update-all resume", "Enter")
    demo.wait_for(r"(?s)Updated.*^\$ $")
    album.take("resume", demo)

    demo.command("update-all rollback go-runtime")
    demo.type(f"{demo.home}/.local/opt/go/bin/go version", "Enter")
    demo.wait_for(r"(?s)linux/amd64.*^\$ $")
    album.take("rollback", demo)

    for name, command in {
        "history": "update-all history",
        "history-plugin": "update-all history quill",
        "status": "update-all status",
        "explain-plugin": "update-all explain quill",
        "doctor": "update-all doctor",
        "help": "update-all --help",
        "dry-run": "update-all run --dry-run larder go-runtime",
    }.items():
        demo.command(command)
        album.take(name, demo)
    _rolled_back, resumed, *_ = re.findall(r"^\d\S+", album.texts["history"], re.MULTILINE)
    demo.command(f"update-all history {resumed}")
    album.take("history-run", demo)
    full_screen(demo, album)


def full_screen(demo: Demo, album: Album) -> None:
    """One more run, on the whole terminal; needs Textual."""
    if find_spec("textual") is None:
        return
    demo.offer("cellar", "cider 0.8.3 7100000")
    demo.offer("atlas", "europe 2026.12 61000000", "asia 2026.12 48000000")
    demo.offer("larder", "barley 2.4.3 18400000 security", "oats 7.5 5200000")
    demo.clear()
    demo.type("update-all run --yes --tui", "Enter")
    demo.wait_for(r"cellar.*│")
    demo.type("/atlas", "Enter")
    demo.type("gj")
    demo.wait_for(r"^›\s+[►✔] fetch.*│")
    demo.wait_for(r"│.*(europe|asia) 2026\.12: \d+%")
    album.take("full-screen", demo)
    demo.type("", "Escape")
    demo.wait_for(r"[◷✔►] cellar")
    demo.type("3")
    demo.wait_for(r"\[3 Timeline\]")
    demo.wait_for(r"The run has ended")
    album.take("full-screen-timeline", demo)
    demo.type("q")
    demo.wait_for(r"^\$ $")


def drawn(name: str, text: str) -> str:
    """A screen with its escape sequences, as an SVG image."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text.from_ansi(text), end="", soft_wrap=True)
    svg = console.export_svg(title="update-all", theme=THEME, code_format=FORMAT, unique_id=f"screen-{name}")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def with_screens(page: str, texts: Mapping[str, str]) -> str:
    """A page whose blocks `<!-- screen: NAME -->` hold the screens of these names. Raises KeyError."""
    return BLOCK.sub(lambda match: f"{match[1]}{match[2]}{texts[match[1]]}", page)


def photograph(page: Path) -> None:
    """A report, on a phone and on a wide screen, by day and by night."""
    from browser import DRIVER, browser

    if DRIVER is None:
        sys.stderr.write("screens: no chromedriver, so the pictures of the report stay as they are\n")
        return
    for width, height in ((390, 844), (1400, 900)):
        with browser(width, height, page.parent) as opened:
            for scheme in ("light", "dark"):
                opened.prefer(scheme)
                opened.open(page)
                (SCREENS / f"report-{width}-{scheme}.png").write_bytes(opened.picture())


def main() -> None:
    album = Album()
    SCREENS.mkdir(exist_ok=True)
    with machine() as demo:
        week(demo, album)
        photograph(demo.home / "report.html")
    for name, text in album.coloured.items():
        (SCREENS / f"{name}.svg").write_text(drawn(name, text), "utf-8")
    page = WALKTHROUGH.read_text("utf-8")
    WALKTHROUGH.write_text(with_screens(page, album.texts), "utf-8")


if __name__ == "__main__":
    sys.path.append(str(ROOT / "tests/ui"))  # The browser that the tests drive.
    main()

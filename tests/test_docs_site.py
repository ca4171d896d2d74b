"""The documentation site: built without a warning, complete, with every link in place, and of one piece."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import update_all.api as api
from update_all.cli.explain import codes
from update_all.cli.main import COMMANDS
from update_all.core.config_schema import keys

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "tools").is_dir(), reason="needs the repository")


class Page(HTMLParser):
    """The ids of a page, its links, and what a browser fetches to show it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("index", "search", "next", "prev", "author"):
            self.loaded.append(given["href"])
        elif "src" in given:
            self.loaded.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does: each warning would be an error."""
    pytest.importorskip("sphinx")
    place = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, str(ROOT / "tools/docs_site.py"), str(place)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (built.stderr, built.returncode) == ("", 0)
    return place / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}


def test_every_link_leads_somewhere(pages: dict[Path, Page]) -> None:
    broken = defaultdict(list)
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = pages.get(target)
            anchor = unquote(parts.fragment)
            if not target.is_file() or (there and anchor and anchor not in there.ids):
                broken[path.name].append(link)
    assert dict(broken) == {}


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for address in page.loaded:
            assert not urlsplit(address).netloc, f"{path.name} loads {address}"
            if not address.startswith("data:"):
                assert (path.parent / urlsplit(address).path).is_file(), f"{path.name} misses {address}"
    for style in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        text = style.read_text("utf-8")
        assert not re.search(r"""(@import\s+|url\(\s*)["']?(https?:)?//""", text), style.name


def test_every_page_is_reached_from_the_first(site: Path, pages: dict[Path, Page]) -> None:
    first = site / "index.html"
    reached, new = {first}, [first]
    while new:
        path = new.pop()
        for link in pages[path].links:
            target = (path.parent / unquote(urlsplit(link).path)).resolve()
            if not urlsplit(link).netloc and target in pages and target not in reached:
                reached.add(target)
                new.append(target)
    unlisted = {path.name for path in pages.keys() - reached}
    assert unlisted <= {"genindex.html", "search.html", "py-modindex.html"}


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("commands", [f'id="{name}"' for name in COMMANDS]),
        ("configuration", [key.path[-1] for key in keys().values()]),
        ("errors", [f"errors/{code}.html" for code in codes()]),
        ("api", [f".{name}" for name in api.__all__]),
        ("json-documents", ["update-all.plan/1", "update-all.run/1", "update-all.history/1"]),
    ],
)
def test_what_derives_from_the_program_is_complete(site: Path, page: str, names: list[str]) -> None:
    text = (site / f"{page}.html").read_text("utf-8")
    assert [name for name in names if name not in text] == []

"""Build the documentation site: `python tools/docs_site.py [DIRECTORY]`, by default into build/site.

The pages are those of docs/ and of the root of the repository, and those that derive from the program. They
are put together in DIRECTORY/source, where links between them are made to fit, and built by Sphinx, for which
every warning is an error. The site needs no network: open DIRECTORY/html/index.html.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from docs_pages import api_page, commands_page, configuration_page, documents_page, errors_page

ROOT = Path(__file__).parent.parent

ROOT_PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
}

NAVIGATION: Mapping[str, tuple[str, ...]] = {
    "Using it": ("walkthrough", "screens", "commands", "configuration", "errors"),
    "Adding a tool": ("toml-plugins", "executable-plugins", "plugin-development", "api"),
    "For programs": ("events", "json-documents"),
    "How it is built": (
        "architecture", "security", "reliability", "performance", "where-the-time-goes", "lab", "test-plan",
        "contributing",
    ),
}  # fmt: skip
"""What a newcomer reads first comes first. Pages that are not named here come last."""

LINK = re.compile(r"(?<=\]\()(?:\.\./|docs/|\./)*([^)#:\s]+\.md)(?=[)#])")


def pages(root: Path = ROOT) -> dict[str, str]:
    """The text of every page by its path within the site."""
    docs = root / "docs"
    found = {path.name: path.read_text("utf-8") for path in sorted(docs.glob("*.md"))}
    found |= {
        f"errors/{path.name}": path.read_text("utf-8") for path in sorted((docs / "errors").glob("*.md"))
    }
    found |= {page: (root / file).read_text("utf-8") for file, page in ROOT_PAGES.items()}
    found = {name: linked(text) for name, text in found.items()}
    found |= {
        "commands.md": commands_page(),
        "configuration.md": configuration_page(),
        "json-documents.md": documents_page(),
        "errors.md": errors_page(),
        "api.md": api_page(),
    }
    found["index.md"] += navigation([name.removesuffix(".md") for name in found if "/" not in name])
    return found


def linked(text: str) -> str:
    """The text of a page with its links as they are within the site. Links into errors/ stay."""
    return LINK.sub(lambda match: ROOT_PAGES.get(match[1], match[1]), text)


def navigation(names: Sequence[str]) -> str:
    """The order of the pages below the first one, for Sphinx."""
    *groups, (last, tail) = NAVIGATION.items()
    listed = {name for group in NAVIGATION.values() for name in group}
    more = sorted(set(names) - listed - {"index"})
    trees = [
        "\n".join(["```{toctree}", f":caption: {title}", ":hidden:", "", *members, "```"])
        for title, members in (*groups, (last, (*tail, *more)))
    ]
    return "\n\n" + "\n\n".join(trees) + "\n"


def build(directory: Path) -> int:
    """Build the site below `directory`, afresh; the exit code of Sphinx, which has told what is wrong."""
    source, html = directory / "source", directory / "html"
    for place in (source, html):
        shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(ROOT / "docs/screens", source / "screens")
    shutil.copy(ROOT / "docs/conf.py", source)
    for name, text in pages().items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, "utf-8")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-E"]
    return subprocess.run([*command, "-d", directory / "doctrees", source, html], check=False).returncode


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/site"
    code = build(target.absolute())
    if code == 0:
        print(target / "html/index.html")  # noqa: T201 - what was asked for
    sys.exit(code)

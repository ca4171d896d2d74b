"""How Sphinx makes the site from the pages that tools/docs_site.py puts together. Nothing is fetched."""

import re

from sphinx.application import Sphinx

from update_all import __version__

project = "update-all"
author = "the authors of update-all"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["man"]
default_role = "code"
highlight_language = "text"
smartquotes = False
show_warning_types = True

myst_heading_anchors = 3

autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 90
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "update-all"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_static_path: list[str] = []


def plain_docstring(
    app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]
) -> None:
    """Docstrings are prose: of all marks only backticks mean something (event autodoc-process-docstring)."""
    for number, line in enumerate(lines):
        parts = re.split(r"(`+[^`]*`+)", line)
        parts[::2] = [re.sub(r"([*|]|(?<=\w)_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
        lines[number] = "".join(parts)


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", plain_docstring)

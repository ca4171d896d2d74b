"""A configuration in which something of everything is set."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = """\
# every key has a default
jobs = 4
confirm = "never"
exclude = ["texlive"]
[network]
downloads = 2
limit = "8 MB/s"
[guards]
metered = "refuse"
[sudo]
keepalive = false
[notify]
desktop = true
ntfy = "https://ntfy.example/my-topic"
[limits]
network = 2
[plugin.go-runtime]
enabled = false
apps = "~/apps"
[hooks]
after = ["~/bin/after-updates"]
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path

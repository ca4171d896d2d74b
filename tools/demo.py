"""A machine to be shown: a home of its own, small package managers that really run, and a terminal.

The package managers are one shell script under several names. What is installed and what is on offer is in
files; a new version of the Go tool chain, a real archive, comes from a server on the loopback device. All
that is seen on the terminal is written by the program and these tools.
"""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from update_all.plugins.go_runtime import ARCHITECTURES

HOME = Path("/tmp/demo")  # noqa: S108 - short, since it is seen; made afresh, and refused where it exists
COLUMNS, LINES = 100, 30
SECONDS = 30

TOOL = r"""#!/bin/sh
# A small package manager. installed: "item version", offered: "item version bytes [security]".
tool=${0##*/}; cd "$HOME/.local/share/$tool" || exit 1
outdated() { awk 'NR == FNR { have[$1] = $2; next }
    $1 in have && have[$1] != $2 { print $1, have[$1], $2, $3, $4 }' installed offered; }
case $1 in
--version) echo "$tool 1.0" ;;
list) cat installed ;;
outdated) outdated ;;
unlock) rm -f locked ;;
fetch)
    outdated | while read -r item old new bytes rest; do
        for part in 20 40 60 80 100; do echo "$item $new: $part%"; sleep "$(cat pause)"; done
    done ;;
install)
    if [ -e locked ]; then
        echo "reading the list of $tool"
        echo "error: $tool is locked since a draft was left open; type: $tool unlock" >&2
        exit 1
    fi
    outdated | while read -r item old new bytes rest; do
        echo "Unpacking $item ($new) over ($old)"; sleep "$(cat pause)"; echo "Setting up $item ($new)"
    done
    sleep "$(cat pause)"
    awk 'NR == FNR { new[$1] = $2; next } { print $1, ($1 in new ? new[$1] : $2) }' offered installed > next
    mv next installed ;;
esac
"""

PLUGIN = """schema = 1
name = "{name}"
description = "{description}"
tags = ["demo"]

[detect]
command = "{name}"

[installed]
cmd = ["{name}", "list"]
columns = ["item", "version"]

[outdated]
cmd = ["{name}", "outdated"]
regex = '^(?P<item>\\S+) (?P<old>\\S+) (?P<new>\\S+) (?P<size>\\d+) (?P<security>security)?$'

[[step]]
name = "fetch"
description = "Fetch what is new"
cmd = ["{name}", "fetch"]
phase = "download"
mutexes = ["{name}", "network"]

[[step]]
name = "install"
description = "Install it"
cmd = ["{name}", "install"]
depends-on = ["fetch"]
mutexes = ["{mutex}"]
uninterruptible = true

[[mutex]]
name = "{mutex}"
reason = "{mutex} keeps one list of what is installed"
"""

CONFIG = """jobs = 4

[plugins]
enabled = ["atlas", "cellar", "go-runtime", "larder", "postbox", "quill"]

[plugin.go-runtime]
directory = "{home}/.local/opt/go"
feed = "http://127.0.0.1:{port}/dl/?mode=json"
mirror = "http://127.0.0.1:{port}/dl"
"""


@dataclass(frozen=True, slots=True)
class Manager:
    """One of the package managers: what it manages, what is installed, how long each item takes (seconds)."""

    description: str
    installed: Mapping[str, str]
    pause: float
    mutex: str = ""


MANAGERS = {
    "larder": Manager("Packages of the larder", {"barley": "2.4.1", "lentils": "1.12.0", "oats": "7.3"}, 0.4),
    "cellar": Manager("Bottles beside the larder", {"cider": "0.8.1"}, 0.4, mutex="larder"),
    "quill": Manager("Extensions of the quill editor", {"quill-spell": "1.6.2", "quill-git": "3.0.4"}, 0.15),
    "atlas": Manager("Maps for the road", {"europe": "2026.9", "asia": "2026.9"}, 0.5),
    "postbox": Manager("Letter templates", {"letters": "4.1"}, 0.1),
}


class Server:
    """A publisher on the loopback device: path → bytes."""

    def __init__(self) -> None:
        resources = self.resources = dict[str, bytes]()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = resources.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the terminal is the picture."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class Demo:
    """The machine, as `machine()` gives it."""

    home: Path
    stack: ExitStack
    server: Server = field(default_factory=Server)

    def set_up(self) -> None:
        """Make home, tools, configuration and terminal."""
        self.stack.callback(self.server.close)
        self.home.mkdir(mode=0o700)
        self.stack.callback(shutil.rmtree, self.home, ignore_errors=True)
        for name in (".local/bin", ".local/opt", ".config/update-all/plugins.d", ".cache", ".tmux"):
            (self.home / name).mkdir(parents=True, mode=0o700)
        self._write_tools()
        _write_go(self.home / ".local/opt/go", "1.25.3")
        config = CONFIG.format(home=self.home, port=self.server.port)
        (self.home / ".config/update-all/config.toml").write_text(config)
        self._start_terminal()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "XDG_STATE_HOME": f"{self.home}/.local/state",
            "XDG_CONFIG_HOME": f"{self.home}/.config",
            "XDG_CACHE_HOME": f"{self.home}/.cache",
            "TMUX_TMPDIR": f"{self.home}/.tmux",
            "PATH": f"{self.home}/.local/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "USER": "you",
        }

    def _write_tools(self) -> None:
        for name, manager in MANAGERS.items():
            place = self.home / ".local/share" / name
            place.mkdir(parents=True)
            installed = "".join(f"{item} {version}\n" for item, version in manager.installed.items())
            (place / "installed").write_text(installed)
            (place / "offered").write_text("")
            (place / "pause").write_text(str(manager.pause))
            _program(self.home / ".local/bin" / name, TOOL)
            text = PLUGIN.format(name=name, description=manager.description, mutex=manager.mutex or name)
            (self.home / f".config/update-all/plugins.d/{name}.toml").write_text(text)
        main = "from update_all.cli.main import main; import sys; sys.exit(main())"
        _program(
            self.home / ".local/bin/update-all", f"#!/bin/sh\nexec {sys.executable} -c '{main}' \"$@\"\n"
        )

    def offer(self, manager: str, *items: str) -> None:
        """From now on a manager has these on offer, each "ITEM VERSION BYTES [security]"."""
        lines = [item if item.endswith("security") else f"{item} " for item in items]
        (self.home / ".local/share" / manager / "offered").write_text("\n".join(lines) + "\n")

    def offer_go(self, version: str) -> None:
        """From now on the publisher of Go has this version."""
        archive = io.BytesIO()
        tree = self.home / ".local/tree"
        _write_go(tree / "go", version)
        with tarfile.open(fileobj=archive, mode="w:gz") as packed:
            packed.add(tree / "go", "go")
        shutil.rmtree(tree)
        name = f"go{version}.linux-{ARCHITECTURES[platform.machine()]}.tar.gz"
        data = archive.getvalue()
        described = {
            "filename": name,
            "os": "linux",
            "arch": ARCHITECTURES[platform.machine()],
            "kind": "archive",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }
        feed = [{"version": f"go{version}", "stable": True, "files": [described]}]
        self.server.resources["/dl/?mode=json"] = json.dumps(feed).encode()
        self.server.resources[f"/dl/{name}"] = data

    def lock(self, manager: str) -> None:
        """Let a manager refuse to install until it is unlocked."""
        (self.home / ".local/share" / manager / "locked").touch()

    def _start_terminal(self) -> None:
        (self.home / ".bashrc").write_text("PS1='$ '; unset HISTFILE\n")
        shell = "bash --noprofile"
        self._tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), shell)
        self.stack.callback(self._tmux, "kill-server")
        self._tmux("set", "-g", "status", "off")
        self.wait_for(r"^\$ $")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-u", "-L", "demo", "-f", os.devnull, *arguments]
        done = subprocess.run(
            command, env={**self.environment, "TERM": "xterm-256color"}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        return done.stdout

    def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys by their names in tmux(1)."""
        self._tmux("send-keys", "-l", text)
        if keys:
            self._tmux("send-keys", *keys)

    def clear(self) -> None:
        """An empty terminal, nothing scrolled out of it."""
        self._tmux("send-keys", "-R", "C-l")
        self._tmux("clear-history")

    def screen(self, *, colours: bool = False) -> str:
        """What is on the terminal, and what has scrolled out of it since `clear`."""
        options = ["-e"] if colours else []
        text = self._tmux("capture-pane", "-p", "-N", "-S", "-", *options)
        return "\n".join(line.rstrip() for line in text.splitlines()).rstrip() + "\n"

    def wait_for(self, pattern: str) -> None:
        """Wait until a line of the screen matches. Raises TimeoutError, with the screen."""
        deadline = time.monotonic() + SECONDS
        while not re.search(pattern, self._tmux("capture-pane", "-p", "-N"), re.MULTILINE):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never seen: {pattern}\n{self.screen()}")
            time.sleep(0.05)

    def command(self, text: str, *, until: str = r"^\$ $") -> None:
        """Type a command on an empty terminal and wait for a line that matches: by default, a prompt."""
        self.clear()
        self.type(text)
        self.wait_for(re.escape(f"$ {text}"))  # The prompt before it is not the one that is waited for.
        self.type("", "Enter")
        self.wait_for(until)


@contextmanager
def machine(home: Path = HOME) -> Iterator[Demo]:
    """A machine; its home, server and terminal are gone with the block.

    Raises FileExistsError for a home that is there already: it would be somebody's.
    """
    with ExitStack() as stack:
        demo = Demo(home, stack)
        demo.set_up()
        yield demo


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _write_go(place: Path, version: str) -> None:
    (place / "bin").mkdir(parents=True)
    _program(place / "bin/go", f"#!/bin/sh\necho go version go{version} linux/amd64\n")
    (place / "VERSION").write_text(f"go{version}\n")

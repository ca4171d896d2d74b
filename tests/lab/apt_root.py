"""A private Debian root with a repository of its own, for the real apt-get and dpkg of this machine.

APT_CONFIG points apt at the root (apt.conf(5)), `~/.dpkg.cfg` points dpkg there (dpkg(1)), DPKG_ADMINDIR
points dpkg-query there (dpkg-query(1)). Maintainer scripts run in a chroot, with copies of sh and sleep.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_FOLDERS = (
    "etc/apt/apt.conf.d",
    "etc/apt/preferences.d",
    "etc/apt/sources.list.d",
    "etc/apt/trusted.gpg.d",
    "var/lib/dpkg/updates",
    "var/lib/dpkg/info",
    "var/lib/dpkg/triggers",
    "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial",
    "var/log/apt",
    "tmp",
)


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class AptRoot:
    """Build packages with `publish`, serve them with `start`, take the server away with `stop`."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.home = home
        self.root = folder / "root"
        self.repository = folder / "repository"
        self._server: ThreadingHTTPServer | None = None
        self._stanzas: dict[str, str] = {}
        self._clock = int(time.time()) - 10_000
        for name in _FOLDERS:
            (self.root / name).mkdir(parents=True)
        self.repository.mkdir()
        (self.root / "var/lib/dpkg/status").touch()
        self._copy_programs("sh", "sleep")
        (home / ".dpkg.cfg").write_text(f"root={self.root}\nforce-not-root\n")
        (folder / "apt.conf").write_text(
            f'Dir "{self.root}";\nDir::State::status "{self.root}/var/lib/dpkg/status";\n'
            'Dir::Bin::dpkg "/usr/bin/dpkg";\nDir::Bin::methods "/usr/lib/apt/methods";\n'
            f'APT::Sandbox::User "root";\nDPkg::Options {{"--root={self.root}";"--force-not-root";}};\n'
        )
        self.environment: Mapping[str, str] = {
            "APT_CONFIG": str(folder / "apt.conf"),
            "DPKG_ADMINDIR": str(self.root / "var/lib/dpkg"),
        }

    @property
    def journal(self) -> Path:
        """Where dpkg notes what it has not yet written into its status file."""
        return self.root / "var/lib/dpkg/updates"

    @property
    def status(self) -> str:
        return (self.root / "var/lib/dpkg/status").read_text()

    def publish(
        self, name: str, version: str, *, postinst: str = "", conffile: str = "", **fields: str
    ) -> None:
        """Add a package to the repository; `fields` are further control fields, as `Depends`.

        `conffile` is the content of a configuration file `/etc/NAME`.
        """
        tree = self.repository.parent / "tree"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "usr/share" / name).mkdir(parents=True)
        (tree / "usr/share" / name / "version").write_text(version)
        control = {
            "Package": name,
            "Version": version,
            "Architecture": "all",
            "Maintainer": "Lab <lab@example.invalid>",
            "Description": "of the lab",
            **fields,
        }
        text = "".join(f"{key}: {value}\n" for key, value in control.items())
        (tree / "DEBIAN/control").write_text(text)
        if conffile:
            (tree / "etc").mkdir()
            (tree / "etc" / name).write_text(conffile)
            (tree / "DEBIAN/conffiles").write_text(f"/etc/{name}\n")
        if postinst:
            (tree / "DEBIAN/postinst").write_text(f"#!/bin/sh\n{postinst}\n")
            (tree / "DEBIAN/postinst").chmod(0o755)
        file = self.repository / f"{name}_{version.replace(':', '%3a')}_all.deb"
        subprocess.run(["dpkg-deb", "-b", tree, file], check=True, capture_output=True)
        shutil.rmtree(tree)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self._stanzas[file.name] = (
            f"{text}Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n\n"
        )
        self._write_index()

    def start(self, port: int = 0) -> None:
        """Serve the repository on loopback and make it the only source."""
        handler = partial(_Handler, directory=str(self.repository))
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        source = f"deb [trusted=yes] http://127.0.0.1:{self._server.server_address[1]}/ ./\n"
        (self.root / "etc/apt/sources.list").write_text(source)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def age_lists(self) -> None:
        """Let the last refresh be long ago: fresh lists are an answer."""
        for path in (self.root / "var/lib/apt/lists", *(self.root / "etc/apt").glob("sources.list*")):
            os.utime(path, (0, 0))
        for path in self.home.glob(".cache/update-all/*"):
            os.utime(path, (0, 0))

    def _write_index(self) -> None:
        index = "".join(self._stanzas.values()).encode()
        (self.repository / "Packages").write_bytes(index)
        digest = hashlib.sha256(index).hexdigest()
        (self.repository / "Release").write_text(
            f"Origin: Lab-Security\nLabel: Lab\nSuite: lab-security\nDate: {formatdate(usegmt=True)}\n"
            f"SHA256:\n {digest} {len(index)} Packages\n"
        )
        # HTTP dates are whole seconds: two indexes of one second would be the same to apt.
        self._clock += 10
        for name in ("Packages", "Release"):
            os.utime(self.repository / name, (self._clock, self._clock))

    def _copy_programs(self, *names: str) -> None:
        (self.root / "bin").mkdir()
        for name in names:
            program = shutil.which(name, path="/bin:/usr/bin")
            assert program is not None
            shutil.copy(program, self.root / "bin" / name)
            linked = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
            for library in re.findall(r"(/\S+\.so\S*)", linked):
                target = self.root / library.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, target)

"""A tiny Python package index (PEP 503) with wheels made here."""

from __future__ import annotations

import ensurepip
import hashlib
import io
import zipfile
from pathlib import Path

from loopback import Loopback


def wheel(name: str, version: str, requires: tuple[str, ...], files: int) -> bytes:
    """A wheel with one program of the package's name, which prints the version."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    content = {
        f"{module}/__init__.py": f"def main():\n    print({version!r})\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {requirement}\n" for requirement in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {module}:main\n",
    }
    content |= {f"{module}/data{number}.txt": "of the lab\n" for number in range(files)}
    record = f"{info}/RECORD"
    content[record] = "".join(f"{path},,\n" for path in (*content, record))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return buffer.getvalue()


class PythonIndex:
    """Publish with `publish`; `url` is what PIP_INDEX_URL and UV_DEFAULT_INDEX want."""

    def __init__(self) -> None:
        self._projects: dict[str, dict[str, bytes]] = {}
        self._loopback = Loopback(self._answer)
        self._loopback.content_type = "text/html"
        self.url = f"{self._loopback.url}/simple"
        self.stop = self._loopback.stop
        self.stalled = self._loopback.stalled

    def publish(self, name: str, version: str, *, requires: tuple[str, ...] = (), files: int = 0) -> None:
        file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        self._projects.setdefault(name, {})[file] = wheel(name, version, requires, files)

    def publish_pip(self) -> None:
        """The pip that Python bundles, which pipx installs into its shared environment."""
        for path in (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"):
            self._projects.setdefault("pip", {})[path.name] = path.read_bytes()

    def stall(self, ending: str) -> None:
        """Let the next request whose path ends so wait."""
        self._loopback.stalling = ending

    def _answer(self, path: str) -> bytes | None:
        kind, _, rest = path.strip("/").partition("/")
        project, _, file = rest.partition("/")
        files = self._projects.get(project)
        if files is None:
            return None
        if kind == "file":
            return files.get(file)
        links = (
            f'<a href="/file/{project}/{name}#sha256={hashlib.sha256(data).hexdigest()}">{name}</a>'
            for name, data in files.items()
        )
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()

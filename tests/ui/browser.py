"""A headless Chromium, driven over the WebDriver protocol (W3C) of chromedriver."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

DRIVER = shutil.which("chromedriver")

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]  # fmt: skip


class Browser:
    """One session of a browser."""

    def __init__(self, port: int, width: int, height: int, profile: Path) -> None:
        emulated = {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 1, "mobile": True}}
        options = {
            "args": [*ARGUMENTS, f"--user-data-dir={profile}"],
            "mobileEmulation": emulated,
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._port, self._base = port, ""
        self._base = f"/session/{self._send('/session', capabilities={'alwaysMatch': wanted})['sessionId']}"

    def _send(self, path: str, **body: object) -> Any:
        return self._ask("POST", path, json.dumps(body))

    def _ask(self, method: str, path: str, body: str = "") -> Any:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, self._base + path, body, {"Content-Type": "application/json"})
            value = json.load(connection.getresponse())["value"]
        finally:
            connection.close()
        assert not (isinstance(value, dict) and "error" in value), value
        return value

    def open(self, page: Path) -> None:
        self._send("/url", url=page.as_uri())

    def run(self, script: str, *arguments: object) -> Any:
        return self._send("/execute/sync", script=script, args=list(arguments))

    def prefer(self, scheme: str) -> None:
        """Show pages as to a person who prefers the colour scheme "light" or "dark"."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        parameters = {"features": features}
        self._send("/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params=parameters)

    def picture(self) -> bytes:
        """What is in the window, as a PNG image."""
        return base64.b64decode(self._ask("GET", "/screenshot"))

    def console(self) -> list[str]:
        """What has been written to the console, errors of the page's policy among it."""
        return [entry["message"] for entry in self._send("/se/log", type="browser")]

    def close(self) -> None:
        self._ask("DELETE", "")


@contextmanager
def browser(width: int, height: int, place: Path) -> Iterator[Browser]:
    """A browser whose window is `width` by `height` CSS pixels; `place` holds its profile."""
    assert DRIVER is not None
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True, cwd=place)
    try:
        assert driver.stdout is not None
        port = next(line.split()[-1].rstrip(".") for line in driver.stdout if "successfully on port" in line)
        session = Browser(int(port), width, height, place / "profile")
        try:
            yield session
        finally:
            session.close()
    finally:
        driver.kill()
        driver.communicate()

"""A directory served on loopback, which can stall at one file and can die."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FilesServer:
    """`url` stays the same after `stop`: a closed port, as a dead network looks."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.stalling = ""
        """Requests whose path holds this text wait, once; `stalled` says that one does."""
        self.stalled = threading.Event()
        self._free = threading.Event()
        self._clock = int(time.time()) - 1000
        outer = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if outer.stalling and outer.stalling in self.path and not outer.stalled.is_set():
                    outer.stalled.set()
                    outer._free.wait(60)
                # Its answer would depend on what second it is.
                del self.headers["If-Modified-Since"]
                # Whoever waited for the answer may have been killed.
                with suppress(ConnectionError):
                    super().do_GET()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._running = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def touch(self) -> None:
        """Give everything a later date than before: HTTP dates are whole seconds."""
        self._clock += 10
        for path in self.folder.rglob("*"):
            if path.is_file():
                os.utime(path, (self._clock, self._clock))

    def stop(self) -> None:
        self._free.set()
        if self._running:
            self._running = False
            self._server.shutdown()
            self._server.server_close()

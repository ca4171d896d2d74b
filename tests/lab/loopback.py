"""A loopback HTTP server that answers from a function, and can die."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[str], bytes | None]
"""Path of a request → body, or None for 404."""


class Loopback:
    """`url` stays the same after `stop`: a closed port, as a dead network looks."""

    def __init__(self, answer: Answer) -> None:
        outer = self
        self.requests: list[str] = []
        self.stalling = ""
        """A request whose path ends so waits, once; `stalled` says that one does."""
        self.stalled = threading.Event()
        self._free = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                if outer.stalling and self.path.endswith(outer.stalling) and not outer.stalled.is_set():
                    outer.stalled.set()
                    outer._free.wait(60)
                # Whoever waited for the answer may have been killed.
                with suppress(ConnectionError):
                    self.answer()

            def answer(self) -> None:
                body = answer(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.send_header("Content-Type", outer.content_type)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body or b"")

            do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for.

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.content_type = "application/octet-stream"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._running = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._free.set()
        if self._running:
            self._running = False
            self._server.shutdown()
            self._server.server_close()

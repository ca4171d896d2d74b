"""A loopback publisher that serves files with ranges and validators, and fails on demand."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLICE = 16 * 1024


@dataclass
class Resource:
    """One served path. `breaks` holds, per request, after how many body bytes the connection is cut."""

    data: bytes = b""
    etag: str | None = '"v1"'
    content_type: str = "application/octet-stream"
    ranges: bool = True
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    announced_length: int | None = None
    chunked: bool = False
    range_shift: int = 0
    stall_after: int | None = None
    on_slice: Callable[[int], None] | None = None


@dataclass
class Request:
    """What a client asked and how many body bytes it was sent."""

    path: str
    headers: dict[str, str]
    sent: int = 0


class Publisher:
    """Serves `resources`; remembers `requests`. `url(path)` is the address of one."""

    def __init__(self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.resources: dict[str, Resource] = {}
        self.requests: list[Request] = []
        self.release = threading.Event()
        publisher = self

        class Handler(_Handler):
            owner = publisher

        self._server = _Server((host, 0), Handler)
        self.scheme = "https" if context else "http"
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.host, self.port = host, self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def add(self, path: str, data: bytes = b"") -> Resource:
        self.resources[path] = Resource(data)
        return self.resources[path]

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        self.resources[path] = Resource(status=status, headers={"Location": location})

    def url(self, path: str) -> str:
        return f"{self.scheme}://{self.host}:{self.port}{path}"

    @property
    def sent(self) -> int:
        return sum(request.sent for request in self.requests)

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, or a refused handshake, is what the tests are about."""


@contextlib.contextmanager
def publisher(host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Iterator[Publisher]:
    server = Publisher(host, context)
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Publisher

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        request = Request(self.path, {name.lower(): value for name, value in self.headers.items()})
        self.owner.requests.append(request)
        resource = self.owner.resources.get(self.path)
        if resource is None:
            self._head(404, 0, {})
        elif resource.statuses:
            self._head(resource.statuses.pop(0), 0, resource.headers)
        elif resource.status is not None:
            self._head(resource.status, len(resource.data), resource.headers)
            self.wfile.write(resource.data)
        else:
            self._serve(request, resource)

    def _serve(self, request: Request, resource: Resource) -> None:
        start = self._range_start(request, resource)
        headers = {"Content-Type": resource.content_type, **resource.headers}
        if resource.etag is not None:
            headers["ETag"] = resource.etag
        body = resource.data[start or 0 :]
        total = len(resource.data)
        length = resource.announced_length if resource.announced_length is not None else len(body)
        if start is not None:
            shown = start + resource.range_shift
            headers["Content-Range"] = f"bytes {shown}-{total - 1}/{total}"
        if resource.chunked:
            headers["Transfer-Encoding"] = "chunked"
        self._head(200 if start is None else 206, None if resource.chunked else length, headers)
        limit = resource.breaks.pop(0) if resource.breaks else None
        self._body(request, resource, body, limit)

    def _range_start(self, request: Request, resource: Resource) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        validator = request.headers.get("if-range")
        if not match or not resource.ranges or (validator is not None and validator != resource.etag):
            return None
        return int(match[1])

    def _body(self, request: Request, resource: Resource, body: bytes, limit: int | None) -> None:
        for offset in range(0, len(body), SLICE):
            piece = body[offset : offset + SLICE]
            if limit is not None and offset + len(piece) >= limit:
                piece = piece[: limit - offset]
            if resource.stall_after is not None and offset >= resource.stall_after:
                self.owner.release.wait(60)
            self._send(request, piece, resource.chunked)
            if resource.on_slice is not None:
                resource.on_slice(offset)
            if limit is not None and offset + len(piece) >= limit:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
        if resource.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, request: Request, piece: bytes, chunked: bool) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        request.sent += len(piece)

    def _head(self, status: int, length: int | None, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()


def tls_context(folder: Path, names: str = "IP:127.0.0.1", days: int = 2) -> tuple[ssl.SSLContext, Path]:
    """A server context with a self-signed certificate made by openssl(1), and the certificate's path."""
    import subprocess

    key, certificate = folder / "key.pem", folder / "certificate.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-keyout", str(key), "-out", str(certificate), "-days", str(days)]
    argv += ["-subj", "/CN=publisher", "-addext", f"subjectAltName={names}"]
    subprocess.run(argv, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate

"""A proxy that passes every request on to a server, and keeps what its headers were."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True)
class Request:
    """``headers`` by their names in small letters."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Recording:
    """``url`` is the proxy's, ``requests`` what came through it so far."""

    url: str
    requests: list[Request] = field(default_factory=list)


@contextmanager
def recorded(target: str) -> Iterator[Recording]:
    """Such a proxy before ``target``, an http:// address. Host and body pass unchanged: a signature
    made for the proxy holds behind it.
    """
    address = urlsplit(target).netloc

    class Passing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            recording.requests.append(Request(self.command, self.path, headers))
            body = self.rfile.read(int(headers.get("content-length", 0)))
            connection = HTTPConnection(address, timeout=60)
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing: what came through is in the recording."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
    recording = Recording(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield recording
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

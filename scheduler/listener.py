"""Answering scrapes on a loopback port or a Unix socket of this machine; no other route exists."""

from __future__ import annotations

import os
import socket
import stat
import threading
from contextlib import suppress
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from backend.addresses import Address, parse_address
from backend.errors import ConfigurationError

_SOCKET_MODE = 0o660


class _Quiet(WSGIRequestHandler):
    # Whoever connects and says nothing must not keep a thread for ever.
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class's name
        """Scrapes are not worth a line."""

    def address_string(self) -> str:
        return "local"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def server_bind(self) -> None:
        # Not the base class's: it asks the name service for this host's name, which may take long.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> Any:
        request, client = super().get_request()
        return request, client or ("local", 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that hangs up is no trouble of ours; standard error is for logs."""


class Listener:
    """Answers from the moment it is made, on a thread of its own, until ``close``.

    Raises ``ConfigurationError`` when the address is taken, or is not this user's to take.
    """

    def __init__(self, text: str, registry: Any) -> None:
        from prometheus_client import make_wsgi_app

        self._address = parse_address(text)
        try:
            self._server = _bound(self._address)
        except OSError as error:
            raise ConfigurationError(
                f"DSAR_METRICS_LISTEN: cannot listen on {text} ({error.strerror}); choose another "
                "address, or end the process that has it"
            ) from None
        self._server.set_app(make_wsgi_app(registry))
        threading.Thread(
            target=self._server.serve_forever, name="dsar-metrics", daemon=True
        ).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._address.path:
            Path(self._address.path).unlink(missing_ok=True)


def _bound(address: Address) -> _Server:
    if not address.path:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return _server(family, (address.host, address.port))
    _remove_stale(address.path)
    server = _server(socket.AF_UNIX, address.path)
    os.chmod(address.path, _SOCKET_MODE)
    return server


def _server(family: socket.AddressFamily, address: Any) -> _Server:
    class _OfFamily(_Server):
        address_family = family

    return _OfFamily(address, _Quiet)


def _remove_stale(path: str) -> None:
    """Remove a socket that a killed process left behind; one that answers, or a file, stays."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path, follow_symlinks=False).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)

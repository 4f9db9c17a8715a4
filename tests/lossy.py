"""A proxy before a database server that counts round trips, and loses the answer to one COMMIT.

What a cut cable, a failing-over server or a Ctrl-C leave behind: a transaction that took effect or
did not, and nobody who was told.
"""

from __future__ import annotations

import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import URL, make_url

_BYTES = 1 << 16
# Not READ COMMITTED, nor AUTOCOMMIT.
_COMMIT = re.compile(rb"\bCOMMIT\b")
# PostgreSQL's and MariaDB's, of a connection that is closed: nobody waits for what it says.
_GOODBYES = (b"X\x00\x00\x00\x04", b"\x01\x00\x00\x00\x01")


class LossyProxy:
    """``url`` is the database's through the proxy; nothing is lost until ``lose_commit``.

    ``trips``: how often something was asked after an answer, on any connection.
    """

    def __init__(self, database_url: str) -> None:
        self._server = make_url(database_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        through = self._server.difference_update_query(["host", "port"])
        self.url = through.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        self.lost = threading.Event()
        self.trips = 0
        self._counting = threading.Lock()
        self._takes_effect: bool | None = None
        self._then: Callable[[], None] | None = None
        self._another = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_commit(self, *, takes_effect: bool, then: Callable[[], None] | None = None) -> None:
        """Lose the answer to the next COMMIT, which reaches the server only if it ``takes_effect``.

        The connection is cut; with ``then``, which is called when COMMIT has taken effect or not,
        as soon as its owner closes it or opens another one (psycopg does, to cancel).
        """
        self._then, self._takes_effect = then, takes_effect

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._another.set()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, _connected(self._server) as server:
            last = server
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(_BYTES)
                    if source is client and self._is_to_lose(data):
                        self._lose(client, server, data)
                        return
                    if not data:
                        return
                    if source is client and last is server and data not in _GOODBYES:
                        with self._counting:
                            self.trips += 1
                    last = source
                    (server if source is client else client).sendall(data)

    def _is_to_lose(self, data: bytes) -> bool:
        return self._takes_effect is not None and _COMMIT.search(data) is not None

    def _lose(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        takes_effect, self._takes_effect = self._takes_effect, None
        if takes_effect:
            server.sendall(data)
            server.recv(_BYTES)
        self._another.clear()
        self.lost.set()
        if self._then is not None:
            self._then()
            while not (self._another.is_set() or select.select([client], [], [], 0.05)[0]):
                pass


def _connected(url: URL) -> socket.socket:
    folder = url.query.get("host")
    if isinstance(folder, str):
        made = socket.socket(socket.AF_UNIX)
        made.connect(str(Path(folder) / f".s.PGSQL.{url.query.get('port') or url.port or 5432}"))
        return made
    return socket.create_connection((url.host or "127.0.0.1", url.port or 0))


@contextmanager
def a_lossy_proxy(database_url: str) -> Iterator[LossyProxy]:
    """Such a proxy before the database that a URL names."""
    proxy = LossyProxy(database_url)
    try:
        yield proxy
    finally:
        proxy.close()

"""Where a process listens: a loopback port or a Unix socket, and nothing else. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

_UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class Address:
    """``host`` and ``port``, or the ``path`` of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""


def parse_address(text: str) -> Address:
    """Read ``127.0.0.1:9464``, ``[::1]:9464``, ``localhost:9464`` or ``unix:/run/x.sock``.

    Raises ``ValueError`` with the reason; above all for an address that other machines reach.
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not path.startswith("/"):
            raise ValueError(
                "names no absolute path after unix:; write unix:/run/dsar/metrics.sock"
            )
        if len(path.encode()) > 107:
            raise ValueError("is longer than a Unix socket's path may be (107 bytes)")
        return Address(path=path)
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("is no address; write 127.0.0.1:9464 or unix:/run/dsar/metrics.sock")
    host = host.removeprefix("[").removesuffix("]")
    if not _is_loopback(host):
        raise ValueError(
            "is not a loopback address: this program opens no endpoint to other machines; write "
            "127.0.0.1 or unix:/path, and let an agent on this machine collect"
        )
    return Address(host="127.0.0.1" if host == "localhost" else host, port=int(port))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

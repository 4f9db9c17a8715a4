"""Telling the service manager, by the protocol of sd_notify(3): one datagram, no library.

The Python packages for it are either source-only and untouched since 2017, or bindings that
need systemd's headers; the protocol is these lines.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


class Notifier:
    """Speaks to ``$NOTIFY_SOCKET``; without one every call does nothing."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        environment = dict(os.environ) if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]  # Linux's abstract namespace
        self._watchdog_usec = environment.get("WATCHDOG_USEC", "")
        self._watchdog_pid = environment.get("WATCHDOG_PID", str(os.getpid()))

    @property
    def watchdog_seconds(self) -> float | None:
        """How often the service manager wants to hear from this process at least, or None."""
        if not self._watchdog_usec.isdigit() or self._watchdog_pid != str(os.getpid()):
            return None
        return int(self._watchdog_usec) / 1_000_000

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # A manager that does not listen must not stop the work.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(self._address)
            channel.sendall(text.encode())

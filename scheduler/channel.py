"""The line between the scheduler and a job process: one JSON object a line, either way.

Nothing else goes over it, so neither side can make the other run anything. What is said:

=========  ========  ===========================================================================
who        kind      with
=========  ========  ===========================================================================
scheduler  order     job, release, what the job needs
scheduler  stop      (nothing): claim nothing new; the second time: stop at once
job        beat      seconds: within so many the job says its next word
job        done      what the job is for
job        failed    code; line, exit_code: what a start that fails ends the scheduler with
job        replaced  (nothing): the code on the disk is another release's than the scheduler's
=========  ========  ===========================================================================
"""

from __future__ import annotations

import json
import select
import socket
import threading
from typing import Any, Final

_CHUNK: Final = 1 << 16

Message = dict[str, Any]


class Channel:
    """One end of the line. Any thread may ``send``, one may ``receive``."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._sending = threading.Lock()
        self._unread = bytearray()
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)

    def send(self, kind: str, **fields: Any) -> bool:
        """Say something; return whether the other side is there to hear it."""
        line = json.dumps({"kind": kind, **fields}).encode() + b"\n"
        try:
            with self._sending:
                self._end.sendall(line)
        except OSError:
            return False
        return True

    def receive(self, seconds: float | None = None) -> Message | None:
        """What the other side says next; None where it says nothing within ``seconds``.

        Raises ``EOFError`` when it is gone.
        """
        while (at := self._unread.find(b"\n")) < 0:
            if not self._poll.poll(None if seconds is None else seconds * 1000):
                return None
            try:
                chunk = self._end.recv(_CHUNK)
            except OSError:
                chunk = b""
            if not chunk:
                raise EOFError("the other side is gone")
            self._unread += chunk
        line = bytes(self._unread[:at])
        del self._unread[: at + 1]
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def close(self) -> None:
        """Hang up."""
        self._end.close()

"""Idle connections of a pool that the server ended meanwhile: after a restart, or a timeout."""

from __future__ import annotations

import select
from typing import Any

from sqlalchemy.exc import InvalidatePoolError


def refuse_ended(raw: Any, record: Any, _: object) -> None:
    """Have the pool make new connections instead of giving out one that was ended.

    For the pool's event ``checkout``. On an idle connection nothing comes unasked but word of its
    end, so a look at its socket tells: no trip to the server, as ``pool_pre_ping`` would make for
    each transaction. A server that vanished without a word is found out by the statement.
    """
    if not record.info.get("used"):
        record.info["used"] = True  # new: what may have come belongs to its beginning
    elif _has_word(raw):
        raise InvalidatePoolError("the server ended the connection while it was idle")


def _has_word(raw: Any) -> bool:
    try:
        number = raw.pgconn.socket if hasattr(raw, "pgconn") else raw._sock.fileno()
        socket = select.poll()
        socket.register(number, select.POLLIN)
        return bool(socket.poll(0))
    except Exception:  # of the driver: closed already
        return True

"""Knows whether the application's ``db.session`` holds changes that a COMMIT would write.

The exporter writes on connections of its own. Called in the middle of the application's unit of
work it would read without those changes and, on SQLite, wait for a lock that its own caller
holds; so it refuses.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session, scoped_session

from backend.errors import UsageError

_KEY: Final = "dsar_uncommitted"


def watch_sessions(session_class: type[Session]) -> None:
    """Note, for every session of a class, what has been flushed or executed but not committed.

    A session itself forgets what it flushed. May be called again for the same class.
    """
    for name, listener in (
        ("after_flush", _flushed),
        ("do_orm_execute", _executed),
        ("after_transaction_end", _ended),
    ):
        if not event.contains(session_class, name, listener):
            event.listen(session_class, name, listener)


def require_clean(session: scoped_session[Any]) -> None:
    """Raise ``UsageError`` when the session holds unwritten or uncommitted changes."""
    if not session.registry.has():
        return
    current = session()
    if current.new or current.dirty or current.deleted or current.info.get(_KEY):
        raise UsageError(
            "db.session holds changes that are not committed; commit or roll back before exporting"
        )


def expire(session: scoped_session[Any]) -> None:
    """Expire every object of the session, if there is one."""
    if session.registry.has():
        session().expire_all()


def _flushed(session: Session, _: object) -> None:
    session.info[_KEY] = True


def _executed(state: ORMExecuteState) -> None:
    if state.is_insert or state.is_update or state.is_delete or _is_textual_write(state):
        state.session.info[_KEY] = True


def _is_textual_write(state: ORMExecuteState) -> bool:
    text = getattr(state.statement, "text", None)
    return isinstance(text, str) and not text.lstrip().upper().startswith(("SELECT", "WITH"))


def _ended(session: Session, transaction: Any) -> None:
    if transaction.parent is None:
        session.info.pop(_KEY, None)

"""A warning when somebody is erased whose access request is still open.

For the application beside: erasing first would leave a request that can only fail. Registered
once, for example where the application is made::

    with app.app_context():
        warn_on_erasure(User, current_runtime())
"""

from __future__ import annotations

import warnings
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper

from backend.errors import DSARError
from backend.extensions import Runtime
from backend.failures import failure_of
from backend.logs import get_logger
from backend.services.control import Controller
from backend.services.request_rows import REQUESTS
from backend.services.request_summaries import OPEN
from backend.services.subject_keys import same_key

log = get_logger(__name__)

_NAMED_AT_MOST = 20


class OpenRequestWarning(UserWarning):
    """A person is being deleted while a request of theirs waits, runs or has failed."""


def warn_on_erasure(model: type[Any], runtime: Runtime) -> None:
    """Warn whenever a session deletes an object of ``model``, whose primary key requests name.

    Each open request is logged (``open_request_of_erased_user``, by its own id), and an
    ``OpenRequestWarning`` issued, which a warnings filter can turn into an error that stops the
    deletion. Sees what a session's unit of work deletes: neither ``session.execute(delete(…))`` nor
    SQL of one's own; ``dsar list`` shows those afterwards. A database that cannot be asked is
    logged and stops nothing.
    """

    def before_delete(mapper: Mapper[Any], connection: Connection, target: Any) -> None:
        (user_id, *_) = mapper.primary_key_from_instance(target)
        found = _open_requests(runtime, connection, user_id)
        for request_id in found:
            log.warning("open_request_of_erased_user", request_id=request_id)
        if found:
            named = ", ".join(map(str, found))
            warnings.warn(
                f"a person with open access requests is being deleted (ids {named}); "
                "answer or cancel these first",
                OpenRequestWarning,
                stacklevel=2,
            )

    event.listen(model, "before_delete", before_delete)


def _open_requests(runtime: Runtime, connection: Connection, user_id: Any) -> list[int]:
    r = REQUESTS.c
    query = (
        sa.select(r.id, r.user_id).where(r.user_id == user_id, r.status.in_(OPEN)).order_by(r.id)
    )
    if connection.engine.url == runtime.control.url:
        # The application's own transaction: it may have cancelled the request just now.
        return _of_person(connection, query, user_id)
    try:
        control = Controller(runtime.control, runtime.clock)
        return control.read(lambda bare: _of_person(bare, query, user_id))
    except (DSARError, SQLAlchemyError) as error:
        log.warning("erasure_not_checked", error_code=failure_of(error).code)
        return []


def _of_person(connection: Connection, query: sa.Select[Any], user_id: Any) -> list[int]:
    """The ids of rows that name this person, not one whom a collation takes for them."""
    rows = connection.execute(query)
    return list(islice((row.id for row in rows if same_key(row.user_id, user_id)), _NAMED_AT_MOST))

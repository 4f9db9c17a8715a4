"""What is returned of an export that was not begun: why, and what to do."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import DBAPIError

from backend.errors import EXIT_FAILED, DSARError, EnvironmentTrouble
from backend.failures import explain, failure_of
from backend.services.assembly import Services
from backend.services.outlook import look


def refused(reference_id: str, error: Exception) -> dict[str, Any]:
    return {
        "ok": False,
        "error": explain(error),
        "reference_id": reference_id,
        "error_code": failure_of(error).code,
        "exit_code": error.exit_code if isinstance(error, DSARError) else EXIT_FAILED,
        "outcome": None,
        "trouble": isinstance(error, EnvironmentTrouble),
    }


def schema_error(services: Services) -> DSARError | None:
    """What a look at the schema says, of a statement that the database refused."""
    try:
        look(services.controller, prune_before=None)
    except DSARError as error:
        return error
    except DBAPIError:
        return None
    return None

"""The tables: the application's own, and the three of the exporter."""

from backend.models.api_token import ApiToken
from backend.models.audit_log import AuditLog
from backend.models.dsar_attempt import DSARAttempt
from backend.models.dsar_request import DSARRequest
from backend.models.dsar_sweep import DSARSweep
from backend.models.user import User
from backend.models.workflow import Workflow, WorkflowRun

__all__ = [
    "ApiToken",
    "AuditLog",
    "DSARAttempt",
    "DSARRequest",
    "DSARSweep",
    "User",
    "Workflow",
    "WorkflowRun",
]

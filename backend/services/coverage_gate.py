"""What a process does about gaps of coverage before it exports anything: ``DSAR_COVERAGE``."""

from __future__ import annotations

from collections import Counter

from sqlalchemy.exc import DBAPIError

from backend.errors import EnvironmentTrouble, SectionError
from backend.extensions import Runtime
from backend.failures import failure_of
from backend.logs import get_logger
from backend.services.coverage import check_coverage
from backend.services.dsar_collectors import collection

log = get_logger(__name__)


def look_before_exporting(runtime: Runtime) -> None:
    """Compare sections and schema, as DSAR_COVERAGE says; reads the schema once, and no row.

    Logs every kind of gap, or raises ``SectionError`` for them (``refuse``), or looks for none
    (``off``). Raises ``SectionError`` too for sections that cannot be used. A source database that
    cannot be looked at is waited for, as ever; with ``refuse`` its error passes.
    """
    mode = runtime.settings.coverage
    try:
        collection(runtime)
        report = None if mode == "off" else check_coverage(runtime)
    except (EnvironmentTrouble, DBAPIError) as error:
        log.warning("coverage_unknown", error_code=failure_of(error).code)
        if mode == "refuse":
            raise
        return
    if report is None:
        return
    if report.settings_missing:
        log.warning("controller_unstated", count=len(report.settings_missing))
    if not report.findings:
        return
    if mode == "refuse":
        raise SectionError(
            f"coverage finds {len(report.findings)} gap(s), and DSAR_COVERAGE is refuse; see: "
            "dsar coverage"
        )
    for problem, count in Counter(each.problem for each in report.findings).items():
        log.error("coverage_gap", error_code=str(problem), count=count)

"""Which tables PostgreSQL's row-level security would show this program in part alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from backend.driver_errors import is_hidden_by_policy, words_of_refusal
from backend.engines import named_errors, role_of
from backend.services.declarations import Declared
from backend.services.findings import Finding, Problem
from backend.services.reflection import Name, shown
from backend.services.sections import TableSection


def hidden_tables(engine: Engine, key: str, tables: Iterable[Name]) -> dict[Name, str]:
    """The tables and views of which a policy hides rows from this role, with PostgreSQL's words.

    Asked as an export asks, so that it holds for views, partitions, owners and FORCE as well; what
    cannot be read for another reason is left out. Raises ``DatabaseUnreachable``, ``DatabaseBusy``.
    """
    if engine.dialect.name != "postgresql":
        return {}
    found = {}
    with named_errors(engine.url, key), engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        anywhere = "SELECT EXISTS (SELECT FROM pg_class WHERE relrowsecurity)"
        if connection.exec_driver_sql(anywhere).scalar_one():
            for name in dict.fromkeys(tables):
                if words := _refusal(connection, name):
                    found[name] = words
    return found


def _refusal(connection: Connection, name: Name) -> str | None:
    quote = connection.dialect.identifier_preparer.quote
    table = ".".join(quote(part) for part in name if part is not None)
    connection.exec_driver_sql("BEGIN READ ONLY; SET LOCAL row_security = off")
    try:
        connection.exec_driver_sql(f"SELECT 1 FROM {table.replace('%', '%%')} WHERE false").close()
    except DBAPIError as error:
        return words_of_refusal(error) if is_hidden_by_policy(error) else None
    finally:
        connection.exec_driver_sql("ROLLBACK")
    return None


def tables_of(section: TableSection) -> Iterator[Name]:
    """The table of a section, and those that its owner paths pass."""
    tables = [hop.table for path in section.owner_paths for hop in path.hops]
    for table in (section.table, *tables):
        yield table.schema, table.name


def hidden_rows(engine: Engine, key: str, sections: Sequence[Declared]) -> Iterator[Finding]:
    """A finding for each table that sections read, and of which a policy hides rows."""
    read: dict[Name, str] = {}
    for section in sections:
        for name, _ in section.named:
            read.setdefault(name, section.section)
    for name, words in hidden_tables(engine, key, read).items():
        yield Finding(
            Problem.ROWS_HIDDEN,
            f"{words}: no export can be made; {remedy(engine)}",
            section=read[name],
            table=shown(name),
        )


def remedy(engine: Engine) -> str:
    """What lets this engine's role see every row."""
    role = engine.dialect.identifier_preparer.quote(role_of(engine))
    return (
        f"as a superuser ALTER ROLE {role} BYPASSRLS; or let the sections read a view that the "
        "table's owner owns (a policy that shows it every row is not enough)"
    )

"""How MariaDB's tables are read from their definitions where a name holds odd characters.

SQLAlchemy reads ``SHOW CREATE TABLE``. It leaves a backtick in a column's name doubled, passes over
a foreign key with a backtick or a parenthesis in a name, and takes a line with the word PARTITION
in capitals for no key at all: a table would lose its way to the person, and nobody would hear of
it.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy.dialects.mysql.reflection import MySQLTableDefinitionParser
from sqlalchemy.engine import Connection

_ACTION: Final = "(?:RESTRICT|CASCADE|SET NULL|NO ACTION|SET DEFAULT)"
_LISTS: Final = {
    "key": "keys",
    "fk_constraint": "fk_constraints",
    "ck_constraint": "ck_constraints",
}


def read_odd_names(connection: Connection) -> None:
    """Have the tables of this connection's engine read so."""
    dialect: Any = connection.dialect
    dialect.__dict__["_tabledef_parser"] = _Parser(dialect, dialect.identifier_preparer)


class _Parser(MySQLTableDefinitionParser):
    def _prep_regexes(self) -> None:
        super()._prep_regexes()
        self._quote = self.preparer.final_quote
        quote = re.escape(self._quote)
        name = f"{quote}(?:{quote}{quote}|[^{quote}])+{quote}"
        names = f"{name}(?: *, *{name})*"
        self._re_fk_constraint = re.compile(
            rf"  CONSTRAINT +{quote}(?P<name>(?:{quote}{quote}|[^{quote}])+){quote} +FOREIGN KEY +"
            rf"\((?P<local>{names})\) REFERENCES +(?P<table>{name}(?:\.{name})?) +"
            rf"\((?P<foreign>{names})\)(?: +(?P<match>MATCH \w+))?"
            rf"(?: +ON DELETE (?P<ondelete>{_ACTION}))?(?: +ON UPDATE (?P<onupdate>{_ACTION}))?",
            re.IGNORECASE,
        )

    def _parse_column(self, line: str, state: Any) -> None:
        super()._parse_column(line, state)
        if state.columns:
            state.columns[-1]["name"] = self._single(state.columns[-1]["name"])

    def _parse_keyexprs(self, identifiers: str) -> list[tuple[str, int | None, str]]:
        found = super()._parse_keyexprs(identifiers)
        return [(self._single(name), length, more) for name, length, more in found]

    def _parse_partition_options(self, line: str, state: Any) -> None:
        kind, found = self._parse_constraints(line)
        if kind in _LISTS:
            getattr(state, _LISTS[kind]).append(found)
        else:
            super()._parse_partition_options(line, state)

    def _single(self, name: str) -> str:
        return name.replace(self._quote * 2, self._quote)

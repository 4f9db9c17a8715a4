"""The beginning of every section, kept for the page while the whole goes into the archive."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from backend.services.page.values import MAX_CHARACTERS
from backend.services.rendering import Rows

# What a person reads through; whoever has more rows searches them, in the file. It also keeps the
# page small enough for a telephone.
PAGE_ROWS: Final = 100
# More than this is not parsed for the page's sake.
_PARSE_BYTES: Final = 8 * 1024 * 1024
# What is no larger is kept as it is.
_SMALL_BYTES: Final = 64 * 1024
# Nested values of rows larger than this are kept as cut text, so that memory stays flat.
_WHOLE_BYTES: Final = 512 * 1024


@dataclass(slots=True)
class Preview:
    """The first rows of a section. ``too_large``: they are not even shown in part."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    too_large: bool = False

    def watching(self, rows: Iterable[Rows]) -> Iterator[Rows]:
        """The same rows, the first of them kept on their way. Costs nothing a row after those."""
        kept = 0
        for some in rows:
            if len(self.rows) < PAGE_ROWS and kept < _WHOLE_BYTES and not self.too_large:
                self._keep(some)
                kept += len(some.text)
            yield some

    def _keep(self, rows: Rows) -> None:
        if len(rows.text) > _PARSE_BYTES:
            self.too_large = True
            return
        large = len(rows.text) > _WHOLE_BYTES
        try:
            parsed = json.loads(b"[" + rows.text + b"]", parse_float=Decimal)
            kept = parsed[: PAGE_ROWS - len(self.rows)]
            if len(rows.text) > _SMALL_BYTES:
                kept = [{name: _short(value, large) for name, value in row.items()} for row in kept]
            self.rows += kept
        except (RecursionError, ValueError):
            # Nested deeper than Python reads, or a number of more digits: the file has it.
            self.too_large = True


def _short(value: Any, large: bool) -> Any:
    # One character more than is shown, which tells that there are more.
    if isinstance(value, str):
        return value[: MAX_CHARACTERS + 1]
    if large and isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)[: MAX_CHARACTERS + 1]
    return value

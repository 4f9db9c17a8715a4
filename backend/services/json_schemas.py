"""The JSON Schema (draft 2020-12) of every file in the archive, from the sections' declarations.

The mapping of types is the one of ``backend.services.rendering``. A schema says what the declared
columns hold. A database that keeps a value which its column's type does not allow (SQLite does)
exports it as it is stored, and such a file is faithful but does not meet its schema.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from backend.services.base_types import base_type
from backend.services.per_section import PerSection
from backend.services.rendering import dump_object
from backend.services.sections import (
    FACT_NAMES,
    Disposition,
    Exported,
    FilesSection,
    Masked,
    Section,
    TableSection,
)
from backend.services.wording import FALLBACK_LANGUAGE, humanised, in_language

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
META: Final = "meta"

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_FLOAT: Final[dict[str, Any]] = {
    "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]
}
_DECIMAL: Final[dict[str, Any]] = {"type": "string", "description": "a number with every digit"}
_DURATION: Final[dict[str, Any]] = {"type": "string", "description": "a duration, ISO 8601"}
_BYTES: Final[dict[str, Any]] = {"type": "string", "contentEncoding": "base64"}
_ANYTHING: Final[dict[str, Any]] = {}
_SIZE: Final[dict[str, Any]] = {
    "bytes": {"type": "integer", "minimum": 0},
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}


def schemas_of(section: Section, version: str) -> dict[str, dict[str, Any]]:
    """The schemas of a section's JSON files, by the files' names without their ending."""
    found = {section.name: schema_of(section, version)}
    if isinstance(section, TableSection) and section.files:
        name = f"{section.name}_files"
        found[name] = {
            "$schema": DRAFT,
            "$id": f"urn:dsar:{version}:{name}",
            "title": humanised(name),
            "type": "array",
            "items": _listed({"column": _TEXT}),
        }
    return found


def _listed(before: dict[str, Any]) -> dict[str, Any]:
    """The row of a list of files. Without a ``file`` it has a ``problem``."""
    row = before | {"name": _TEXT, "file": {"type": ["string", "null"]}}
    return _record(row | _SIZE | {"problem": _TEXT}, optional=(*_SIZE, "problem"))


def schema_of(section: Section, version: str) -> dict[str, Any]:
    """The schema of a section's own file. ``version`` is the archive's ``schema_version``."""
    row: dict[str, Any] = {"type": "object"}
    if isinstance(section, FilesSection):
        row = _listed({})
    elif isinstance(section, TableSection):
        columns = section.read_columns()
        row |= {
            "properties": {str(c.name): _property(section, c) for c in columns},
            "required": [str(column.name) for column in columns],
            "additionalProperties": False,
        }
    body: dict[str, Any] = {"type": "array", "items": row}
    if section.single:
        # Without a row the file is an empty object.
        body = {"anyOf": [row, {"type": "object", "maxProperties": 0}]}
    wording = section.wording
    described = in_language(wording.description, FALLBACK_LANGUAGE)
    return {
        "$schema": DRAFT,
        "$id": f"urn:dsar:{version}:{section.name}",
        "title": in_language(wording.title, FALLBACK_LANGUAGE) or humanised(section.name),
        **({"description": described} if described else {}),
        **body,
    }


def _property(section: TableSection, column: sa.Column[Any]) -> dict[str, Any]:
    disposition = section.columns[column.name]
    kind = sa.LargeBinary() if column.name in section.large_objects else column.type
    found = dict(_typed(kind, disposition))
    if label := section.wording.labels.get(column.name):
        found["title"] = in_language(label, FALLBACK_LANGUAGE)
    alternatives: list[dict[str, Any]] = []
    if isinstance(disposition, Masked):
        alternatives.append({"const": disposition.note})
    if column.nullable and found.keys() - {"title"}:
        if alternatives or not isinstance(found.get("type"), str):
            alternatives.append({"type": "null"})
        else:
            found["type"] = [found["type"], "null"]
    if not alternatives:
        return found
    title = {"title": found.pop("title")} if "title" in found else {}
    return {**title, "anyOf": [*found.pop("anyOf", [found]), *alternatives]}


def _typed(kind: sa.types.TypeEngine[Any], disposition: Disposition) -> dict[str, Any]:
    """A column type's JSON, nulls aside."""
    if isinstance(disposition, Exported) and (disposition.paths or disposition.as_json):
        return _ANYTHING
    kind = base_type(kind)
    if isinstance(kind, sa.types.TypeDecorator) and not isinstance(kind, sa.Interval):
        return _ANYTHING  # whatever it makes of what it reads
    # MariaDB's SET by its name: importing its 19 modules took 40 ms of every export's start.
    if isinstance(kind, sa.ARRAY) or kind.__visit_name__ == "SET":
        # An array's element may be null, and an array of any depth has one type.
        return {"type": "array"}
    for types, schema in _BY_TYPE:
        if isinstance(kind, types):
            return schema
    return _by_python_type(kind)


def _by_python_type(kind: sa.types.TypeEngine[Any]) -> dict[str, Any]:
    """Types of a database's own, by what SQLAlchemy says that Python gets of them."""
    try:
        python_type = kind.python_type
    except NotImplementedError:
        return _ANYTHING
    return _BY_PYTHON_TYPE.get(python_type, _ANYTHING)


# In this order: a more special type comes before its base.
_BY_TYPE: Final[tuple[tuple[type[Any] | tuple[type[Any], ...], dict[str, Any]], ...]] = (
    ((sa.JSON, sa.types.NullType, sa.types.UserDefinedType, sa.PickleType), _ANYTHING),
    (sa.Enum, _TEXT),
    (sa.Boolean, {"type": "boolean"}),
    (sa.Integer, {"type": "integer"}),
    (sa.Float, _FLOAT),
    (sa.Numeric, _DECIMAL),
    (sa.Interval, _DURATION),
    (sa.DateTime, {"type": "string", "description": "a timestamp, ISO 8601"}),
    (sa.Date, {"type": "string", "description": "a date, ISO 8601"}),
    (sa.Time, {"type": "string", "description": "a time of day, ISO 8601"}),
    (sa.Uuid, {"type": "string", "format": "uuid"}),
    (sa.LargeBinary, _BYTES),
)
_BY_PYTHON_TYPE: Final[dict[type[Any], dict[str, Any]]] = {
    str: _TEXT,
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: _FLOAT,
    decimal.Decimal: _DECIMAL,
    bytes: _BYTES,
    dt.timedelta: _DURATION,
    uuid.UUID: {"type": "string", "format": "uuid"},
    set: {"type": "array"},
}


def meta_schema(version: str) -> dict[str, Any]:
    """The schema of ``meta.json``. What a later version adds meets it too."""
    text_or_null = {"type": ["string", "null"]}
    instant = {"type": "string", "format": "date-time"}
    reasons = {"type": "object", "additionalProperties": _TEXT}
    details = {
        "searched": {"const": True},
        "snapshot_at": instant,
        "title": _TEXT,
        "description": _TEXT,
        **dict.fromkeys(FACT_NAMES, _TEXT),
        "withheld": reasons,
        "masked": reasons,
        "deleted_rows_left_out": _TEXT,
        "rows": {"type": "integer", "minimum": 0},
        **_SIZE,
    }
    optional = ("withheld", "masked", "deleted_rows_left_out")
    controller = ("name", "contact", "data_protection_officer", "complaint_authority")
    right = {"right": _TEXT, "article": {"type": "integer"}, "text": _TEXT}
    properties: dict[str, Any] = {
        "schema_version": {"const": version},
        "generated_at": instant,
        "snapshot_at": instant,
        "reference_id": text_or_null,
        "user_id": {"type": ["integer", "string"]},
        "language": _TEXT,
        "notes": {"type": "array", "items": _TEXT},
        "controller": _record(dict.fromkeys(controller, text_or_null)),
        "rights": {"type": "array", "items": _record(right)},
        "sections": {"type": "array", "items": _TEXT, "uniqueItems": True},
        "section_details": {
            "type": "object",
            "additionalProperties": _record(details, optional=optional),
        },
        "files": {"type": "object", "additionalProperties": _record(_SIZE)},
        "files_included": {
            "type": "object",
            "additionalProperties": {"type": "integer", "minimum": 0},
        },
        "files_not_included": {
            "type": "object",
            "additionalProperties": {"type": "integer", "minimum": 1},
        },
    }
    return {
        "$schema": DRAFT,
        "$id": f"urn:dsar:{version}:{META}",
        "title": "What the archive holds, and what the law wants told beside it",
        **_record(properties, optional=("files", "files_included", "files_not_included")),
    }


def _record(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


_printed: Final[PerSection[dict[str, bytes]]] = PerSection()


def printed_schemas(section: Section, version: str) -> dict[str, bytes]:
    """As ``schemas_of``, each as the archive's member ``schemas/<name>.schema.json``."""
    return _printed.get(
        section,
        version,
        lambda: {
            name: dump_object(schema) + b"\n"
            for name, schema in schemas_of(section, version).items()
        },
    )


@cache
def printed_meta_schema(version: str) -> bytes:
    """The schema of ``meta.json`` as the archive's member ``schemas/meta.schema.json``."""
    return dump_object(meta_schema(version)) + b"\n"

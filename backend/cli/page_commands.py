"""``dsar schema``: the JSON Schemas of an archive's files."""

from __future__ import annotations

from typing import Any

import click

from backend.cli.context import application
from backend.terminal import print_text, visible_json


@click.command()
@click.argument("section", required=False)
def schema(section: str | None) -> None:
    """Print the JSON Schema of a section's file; without SECTION, of all by their names.

    Draft 2020-12, as in an archive's folder schemas. "meta" is the one of meta.json. Always prints
    JSON. Reads the source database's schema where DSAR_SECTIONS_FILE is set, else no database.

    \b
    Example:
      dsar schema workflow_runs
    """
    from backend.services.archive import SCHEMA_VERSION
    from backend.services.dsar_collectors import collection
    from backend.services.json_schemas import META, meta_schema, schemas_of
    from backend.services.rendering import dump_object

    with application() as runtime:
        sections = collection(runtime).sections
    schemas: dict[str, dict[str, Any]] = {}
    for each in sections:
        schemas |= schemas_of(each, SCHEMA_VERSION)
    schemas[META] = meta_schema(SCHEMA_VERSION)
    if section is not None and section not in schemas:
        raise click.BadParameter(
            f"there is no section {section!r}; there are: {', '.join(schemas)}",
            param_hint="SECTION",
        )
    print_text(
        visible_json(dump_object(schemas if section is None else schemas[section]).decode()) + "\n"
    )

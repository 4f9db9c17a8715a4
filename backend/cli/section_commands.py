"""``dsar coverage`` and ``dsar sections draft``: what is declared, and what should be."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from backend.cli.console import as_json, print_table, show
from backend.cli.context import application
from backend.errors import EXIT_FAILED, UsageError


@click.command()
@as_json
def coverage(json_wanted: bool) -> None:
    """Compare the sections with the database's real schema; exit with 1 where something lacks.

    Every table that leads to a person, and every column of it, must be exported, withheld or
    masked by a section, or exempted with a reason; so must what looks personal by its name. What
    a section names must be there. For a company's CI.

    \b
    Example:
      dsar coverage
    """
    from backend.services.coverage import check_coverage

    with application() as runtime:
        report = check_coverage(runtime)
    seen = f"{report.tables:,} tables, {report.columns:,} columns, {report.sections:,} sections"
    rows = [
        (each.section, each.table, ", ".join(each.columns), each.problem, each.message)
        for each in report.findings
    ]
    show(
        {"ok": not report.findings, **asdict(report)},
        json_wanted,
        lambda: print_table(
            "not covered",
            ("section", "table", "columns", "problem", "what to do"),
            rows,
            note=f"{seen}: {len(rows):,} findings" if rows else f"{seen}: everything is covered",
        ),
    )
    if report.findings:
        click.echo(
            f"error: {len(report.findings)} finding(s); cover, mend or exempt them", err=True
        )
        sys.exit(EXIT_FAILED)


@click.group()
def sections() -> None:
    """Sections for any database, without Python."""


@sections.command()
@click.option("--subject-table", help="The people's table. Default: one of a usual name.")
@click.option("--subject-key", help="Its column that names a person. Default: the primary key.")
@click.option("--schema", "schemas", multiple=True, help="Look at this schema as well.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="A new file. Default: stdout."
)
def draft(
    subject_table: str | None,
    subject_key: str | None,
    schemas: tuple[str, ...],
    output: Path | None,
) -> None:
    """Write a first sections.toml from the foreign keys of the source database; or print it.

    Credentials are withheld and other people's identifiers masked; wherever a person must decide
    stands a TODO, and `dsar coverage` fails until none is left.

    \b
    Examples:
      dsar sections draft -o sections.toml
      dsar sections draft --subject-table customers --schema crm
    """
    from backend.services.drafting import draft as write_draft
    from backend.services.drafting import find_key, find_person
    from backend.services.schema_graph import read_schema

    with application() as runtime:
        schema = read_schema(runtime.source, {None, *schemas})
        person = find_person(schema, subject_table)
        text = write_draft(schema, person, find_key(person, subject_key), schemas)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{output} is there already; name another file, or delete it") from None
    except OSError as error:
        raise UsageError(f"{output} cannot be written ({error.strerror})") from None
    click.echo(
        f"{output}: {text.count('[[section]]')} sections, {text.count('TODO')} TODO", err=True
    )

"""``dsar coverage`` and ``dsar sections draft``: what is declared, and what should be."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import click

from backend.cli.console import Line, as_json, counted, print_table, show
from backend.cli.context import application
from backend.errors import EXIT_FAILED, UsageError
from backend.terminal import print_text, say


@click.command()
@click.option(
    "--look",
    is_flag=True,
    help="Look into the tables, too: does a mark of deletion leave out every row?",
)
@as_json
def coverage(look: bool, json_wanted: bool) -> None:
    """Compare the sections with the database's real schema; exit with 1 if anything is missing.

    Every table that leads to a person, and every column of it, must be exported, withheld or
    masked by a section, or exempted with a reason; so must what looks personal by its name. What
    a section names must be there, and the facts of Art. 15(1) stated. Settings of the controller
    that nobody made are told, and fail nothing: a CI need not have them. For a company's CI.
    Neither does advice, on files and on JSON that is exported whole.

    Reads the schema alone. With --look it also asks the real tables whether leave_out_deleted
    leaves out all their rows, each for at most 30 seconds.

    \b
    Examples:
      dsar coverage
      dsar coverage --look
    """
    from backend.services.coverage import check_coverage, check_rows

    with application() as runtime:
        report = check_coverage(runtime)
        report = check_rows(runtime, report) if look else report
    seen = (
        f"{counted(report.tables, 'table')}, {counted(report.columns, 'column')}, "
        f"{counted(report.sections, 'section')}"
    )
    if report.settings_missing:
        say(
            f"warning: not set: {', '.join(report.settings_missing)}; every export tells who "
            "answers and where to complain (GDPR Art. 15(1)(f)); set them where exports are made",
            err=True,
        )
    for advised in report.advice:
        click.echo(f"advice: {advised}", err=True)
    if look:
        say(f"looked at: {', '.join(report.looked_at) or 'no mark of deletion'}", err=True)
    if report.not_looked_at:
        say(
            f"warning: not looked at: {', '.join(report.not_looked_at)}: the database refused or "
            "took too long",
            err=True,
        )
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
            note=f"{seen}: {counted(len(rows), 'finding')}"
            if rows
            else f"{seen}: everything is covered",
            optional=("columns", "section", "problem"),
        ),
    )
    if report.findings:
        say(f"error: {counted(len(rows), 'finding')}; cover, fix or exempt them", err=True)
        sys.exit(EXIT_FAILED)


@click.group()
def sections() -> None:
    """Sections for any database, without Python.

    \b
    Example:
      dsar sections draft -o sections.toml
    """


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
        at, _, people = (subject_table or "").rpartition(".")
        schema = read_schema(runtime.source, {None, *schemas}, [(at or None, people)])
        person = find_person(schema, subject_table)
        text = write_draft(schema, person, find_key(person, subject_key), schemas)
    if output is None:
        print_text(text)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{output} is there already; name another file, or delete it") from None
    except OSError as error:
        raise UsageError(f"{output} cannot be written ({error.strerror})") from None
    sections, todo = text.count("[[section]]"), text.count('"TODO: ')
    say(f"{output}: {counted(sections, 'section')}, {todo} TODO", err=True)


@click.command()
@click.option(
    "--scratch-url",
    type=Line(),
    help="An empty database to do it in; a dash reads it from stdin. Default: a SQLite file, "
    "deleted after.",
)
@click.option("--strict", is_flag=True, help="Exit with 1, too, where something cannot be proven.")
@as_json
def prove(scratch_url: str | None, strict: bool, json_wanted: bool) -> None:
    """Export one of two invented people from a scratch copy, and look for every value.

    Fills empty copies of the tables with values that occur once, and exports one person with the
    code that makes every export: an exported value must be there as often as declared, a withheld
    one nowhere, another person's nowhere, a masked one masked. Reads nobody's data. For a
    company's CI.

    What no value can prove is named: what a function yields, files, and columns of a type that the
    scratch database does not have (PostgreSQL's own want a --scratch-url of a PostgreSQL). With
    --strict that fails as well.

    \b
    Examples:
      dsar prove
      dsar prove --strict --scratch-url postgresql://ci@localhost/scratch
    """
    from backend.services.dsar_collectors import collection
    from backend.services.proving import prove as make_proof

    with application() as runtime:
        proof = make_proof(collection(runtime), scratch_url)
    rows = [(each.section, each.column, each.flaw, each.message) for each in proof.findings]
    seen = (
        f"{counted(proof.sections, 'section')}, {counted(proof.rows, 'row')}, "
        f"{counted(proof.tokens, 'value')} looked for"
    )
    failed = bool(proof.findings) or (strict and bool(proof.not_proven))
    show(
        {"ok": not failed, **asdict(proof)},
        json_wanted,
        lambda: print_table(
            "not as declared",
            ("section", "column", "flaw", "what"),
            rows,
            note=seen if rows else f"{seen}: all as declared",
        ),
    )
    for reason, places in _by_reason(proof.reasons):
        level = "error" if strict else "warning"
        say(f"{level}: not proven: {', '.join(places)}: {reason}", err=True)
    if proof.findings:
        say(f"error: {counted(len(rows), 'finding')}; fix the sections", err=True)
    if failed:
        sys.exit(EXIT_FAILED)


def _by_reason(reasons: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    for reason in dict.fromkeys(reasons.values()):
        yield reason, [place for place, each in reasons.items() if each == reason]

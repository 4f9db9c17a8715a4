"""Which facts of GDPR Art. 15(1) no section states, and which reasons nobody gave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from backend.services.findings import Finding, Problem
from backend.services.sections import (
    FACT_MEANINGS,
    FACT_NAMES,
    Facts,
    Section,
    TableSection,
    missing_facts,
)


def facts_of_others(sections: Iterable[Section]) -> Iterator[tuple[str, Facts]]:
    """The facts of sections over no table of the source."""
    for section in sections:
        if not isinstance(section, TableSection) or section.database != "source":
            yield section.name, section.facts


def facts_missing(stated: Iterable[tuple[str, Facts]]) -> Iterator[Finding]:
    """What no section states, once; then what single ones lack."""
    all_facts = dict(stated)
    # What stands as a TODO says in its own place what is wanted.
    begun = {name for each in all_facts.values() for name in FACT_NAMES if getattr(each, name)}
    missing = {name: missing_facts(facts) for name, facts in all_facts.items()}
    everywhere = [fact for fact in FACT_NAMES if all(fact in each for each in missing.values())]
    if len(missing) > 1 and everywhere:
        yield _fact_missing(None, everywhere, begun)
        missing = {n: [f for f in each if f not in everywhere] for n, each in missing.items()}
    for name, facts in missing.items():
        if facts:
            yield _fact_missing(name, facts, begun)


def _fact_missing(section: str | None, facts: Sequence[str], begun: set[str]) -> Finding:
    todo = [each for each in facts if each in begun]
    absent = [each for each in facts if each not in begun]
    told = []
    if absent:
        who = "no section states" if section is None else "states no"
        where = "[facts], for all" if section is None else "its facts, or into [facts] for all"
        lines = [
            f'{each} = "{FACT_MEANINGS[each][0]}" ({FACT_MEANINGS[each][1]})' for each in absent
        ]
        told.append(
            f"{who} {', '.join(absent)}, which the GDPR wants told; write into {where}: "
            + "; ".join(lines)
        )
    if todo:
        told.append(f"settle the TODO of {', '.join(todo)}")
    return Finding(Problem.FACT_MISSING, "; ".join(told), section=section)


def is_todo(reason: str) -> bool:
    """Whether a reason is not given yet."""
    return not reason.strip() or reason.strip().upper().startswith("TODO")

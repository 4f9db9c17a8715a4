"""Apply each mutant of the list to a copy of the tree, and run the tests that should notice it.

    python -m tests.mutants [--tenth YYYY-MM-DD | --only NAME ...] [--list]

Exits with 1 if one survives, with 2 if the list is out of date or its tests fail without a change.
The working tree is never changed. Database servers are started once, unless
``DSAR_TEST_POSTGRES_URL`` and ``DSAR_TEST_MARIADB_URL`` name running ones.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from tests.mutants import ROOT, ListError, Mutant, read_lists, tenth
from tests.servers import a_server, installed

COPIED: Final = ("backend", "scheduler", "tests", "pyproject.toml")
_AT_ONCE: Final = 2
MUTANT_SECONDS: Final = 240.0
BASELINE_SECONDS: Final = 900.0
_PASSED, _FAILED, _INTERRUPTED = 0, 1, 2
_SERVERS: Final = {
    "postgresql": "DSAR_TEST_POSTGRES_URL",
    "mariadb": "DSAR_TEST_MARIADB_URL",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutant: ``noticed_by`` is a test, a failed import or the time limit."""

    mutant: Mutant
    noticed_by: str | None
    seconds: float


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        chosen = _chosen(options)
        for each in chosen:
            each.changed(ROOT)
        if options.list:
            for each in chosen:
                print(f"{each.name}  {each.file}:{each.found(ROOT)[1]}")
            return 0
        with servers() as environment, tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            outcomes = survey(ROOT, chosen, Path(folder), environment)
    except ListError as error:
        print(error, file=sys.stderr)
        return 2
    return _report(outcomes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tenth", type=date.fromisoformat, metavar="YYYY-MM-DD")
    which.add_argument("--only", action="append", metavar="NAME", default=[])
    parser.add_argument("--list", action="store_true", help="name them, and run nothing")
    return parser


def _chosen(options: argparse.Namespace) -> list[Mutant]:
    found = read_lists()
    if unknown := sorted(set(options.only) - {each.name for each in found}):
        raise ListError(f"no mutant is called {', '.join(unknown)}; see --list")
    if options.only:
        return [each for each in found if each.name in options.only]
    return found if options.tenth is None else tenth(found, options.tenth)


def survey(
    root: Path, mutants: Sequence[Mutant], folder: Path, environment: Mapping[str, str]
) -> list[Outcome]:
    """Run the tests of each mutant in a copy of ``root`` below ``folder``.

    Raises ``ListError`` where a mutant does not apply, or its tests fail without it.
    """
    absent = {kind for kind, variable in _SERVERS.items() if variable not in environment}
    present = [each for each in mutants if each.needs not in absent]
    for each in sorted({each.name for each in mutants} - {each.name for each in present}):
        print(f"left out, since its database is not installed: {each}")
    if not present:
        return []
    pristine = folder / "pristine"
    copy_tree(root, pristine)
    started = time.monotonic()
    tests = sorted({test for each in present for test in each.tests})
    code, output = _pytest(pristine, tests, environment, BASELINE_SECONDS)
    if code != _PASSED:
        raise ListError(f"the tests fail without a change:\n{output[-4000:]}")
    print(f"{len(tests)} tests pass unchanged ({time.monotonic() - started:.0f} s)", flush=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        work = [pool.submit(_try, pristine, folder, each, environment) for each in present]
        return [each.result() for each in work]


def _try(pristine: Path, folder: Path, mutant: Mutant, environment: Mapping[str, str]) -> Outcome:
    """Run one mutant's tests in a copy of its own, which is deleted afterwards."""
    started = time.monotonic()
    copy = folder / mutant.name
    copy_tree(pristine, copy)
    try:
        mutant.apply(copy)
        source = copy / mutant.file
        for compiled in source.parent.glob(f"__pycache__/{source.stem}.*.pyc"):
            compiled.unlink()
        code, output = _pytest(copy, mutant.tests, environment, MUTANT_SECONDS)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    noticed_by = _noticed_by(mutant, code, output)
    seconds = time.monotonic() - started
    print(f"{mutant.name}: {noticed_by or 'SURVIVED'} ({seconds:.0f} s)", flush=True)
    return Outcome(mutant, noticed_by, seconds)


def copy_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for name in COPIED:
        if (source / name).is_dir():
            # Times are kept, and with them what Python compiled.
            shutil.copytree(source / name, target / name, symlinks=True)
        elif (source / name).exists():
            shutil.copy2(source / name, target / name)


def _pytest(
    copy: Path, tests: Sequence[str], environment: Mapping[str, str], seconds: float
) -> tuple[int | None, str]:
    """Run tests in a copy of the tree; the exit code (None: not in time) and the output."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    process = subprocess.Popen(
        command,
        cwd=copy,
        env={**environment, "PYTHONPATH": str(copy)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, f"not done within {seconds:.0f} s"
    return process.returncode, output


def _noticed_by(mutant: Mutant, code: int | None, output: str) -> str | None:
    if code == _PASSED:
        return None
    if code is None and mutant.hangs:
        return "the time limit"
    if code not in (_FAILED, _INTERRUPTED):
        raise ListError(f"{mutant.name}: its tests did not run:\n{output[-4000:]}")
    failed = [line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return failed[0].split(" - ")[0].split(" ", 1)[1] if failed else "a failed import"


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """The environment of the tests, with a running server of each kind that there is."""
    with ExitStack() as stack:
        environment = dict(os.environ)
        for kind, variable in _SERVERS.items():
            if variable in environment or (kind == "mariadb" and not installed("mariadbd")):
                continue
            environment[variable] = stack.enter_context(a_server(kind)).url
        yield environment


def _report(outcomes: Sequence[Outcome]) -> int:
    survivors = [each.mutant for each in outcomes if each.noticed_by is None]
    for mutant in survivors:
        line = mutant.found(ROOT)[1]
        print(f"\nsurvived: {mutant.name}, {mutant.file}:{line}")
        print(f"  was:     {mutant.was}\n  becomes: {mutant.becomes}")
        print(f"  give one of these a test that fails: {', '.join(mutant.tests)}")
    print(f"{len(outcomes)} mutants, {len(survivors)} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

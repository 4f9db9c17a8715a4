"""Keep a run's figures: its table and plot beside the benchmark, its summary in the README.

python -m tests.benchmarks.publish [RESULTS]
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

import click

from backend.settings import CHECKOUT_ROOT

KEPT: Final = ("table.md", "summary.md", "plot.png")
FOLDER: Final = "tests/benchmarks/results"
_HEADING: Final = "## How fast"
_BEFORE: Final = "## Developing"
_SECTION: Final = re.compile(rf"{_HEADING}\n.*?(?={_BEFORE}\n)", re.DOTALL)


def publish(results: Path, checkout: Path) -> None:
    """Replace what is kept of an earlier run, and the README's section, by this run's."""
    folder = checkout / FOLDER
    folder.mkdir(exist_ok=True)
    for name in KEPT:
        shutil.copy(results / name, folder / name)
    readme = checkout / "README.md"
    text = _SECTION.sub("", readme.read_text(encoding="utf-8"))
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    new = text.replace(f"{_BEFORE}\n", f"{_section(summary)}{_BEFORE}\n", 1)
    readme.write_text(new, encoding="utf-8")


def _section(summary: str) -> str:
    return f"""{_HEADING}

{summary}
![Rows a second and peak memory against one person's rows, beside the other ways]({FOLDER}/plot.png)

What COPY prints and a packer packs is the limit: nothing is fetched, checked or recorded. The
[whole table]({FOLDER}/table.md) has every target, met or missed; `make bench` measures anew.

"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "results", type=click.Path(exists=True, path_type=Path), default=Path("bench-results")
)
def main(results: Path) -> None:
    """Put the figures of one run of the benchmark into the README and beside the benchmark.

    \b
    Example:
      make bench && python -m tests.benchmarks.publish
    """
    if missing := [name for name in KEPT if not (results / name).is_file()]:
        raise click.UsageError(f"{results} has no {', '.join(missing)}; run: make bench")
    publish(results, CHECKOUT_ROOT)


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks.publish")

"""The page in a real Chromium, from the unpacked folder: calls nobody, runs nothing, reads well.

Runs where ``DSAR_TEST_NODE_MODULES`` names a folder with playwright-core and axe-core (``.ci/run``
installs them, and Debian's chromium); there, whatever is missing fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backend.clock import SYSTEM_CLOCK
from backend.models import User, Workflow
from backend.services.dsar_exporter import persist_dsar_export
from backend.services.report import make_report
from backend.services.report_page import render
from tests.factories import Person, table
from tests.harness import World
from tests.integration.test_reports import MARCH, fill

LOOK = Path(__file__).parents[1] / "browser" / "look.mjs"
NODE_MODULES = os.environ.get("DSAR_TEST_NODE_MODULES")
TELEPHONE, DESKTOP = 390, 1280
HOSTILE = (
    "<img src=https://example.org/x onerror=alert(1)>",
    "</td></table></section><script>alert(1)</script>",
    '" onmouseover="alert(1)" autofocus onfocus="alert(1)',
    "</style><style>body{background:url(https://example.org/y)}</style>",
    "\u202eevil\u202d <a href='javascript:alert(1)'>x</a>",
)

pytestmark = pytest.mark.skipif(
    NODE_MODULES is None,
    reason="DSAR_TEST_NODE_MODULES names no folder with playwright-core and axe-core",
)


def look(*wanted: tuple[Path, int, str]) -> list[dict[str, Any]]:
    """Open pages, each at a width and in a colour scheme; return what the browser saw."""
    chromium, node = shutil.which("chromium"), shutil.which("node")
    assert chromium and node, "chromium and node must be installed for this test"
    views = [f"{page}:{width}:{scheme}" for page, width, scheme in wanted]
    done = subprocess.run(
        [node, str(LOOK), chromium, *views],
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def unpacked_page(world: World, reference: str, folder: Path) -> Path:
    with world.services(
        controller_name="Example & Söhne <Ltd>",
        controller_contact="privacy@example.org",
        complaint_authority="The Authority",
    ):
        result = persist_dsar_export(reference)
    with zipfile.ZipFile(result["file_path"]) as archive:
        archive.extractall(folder)
    (page,) = folder.glob("*/index.html")
    return page


@pytest.fixture
def world_of_people(sqlite_world: World) -> World:
    """A person with hostile texts, one with much data and German, one with nothing."""
    sqlite_world.people(
        Person(7, workflows=len(HOSTILE)), Person(13, runs=150), Person(9, 0, 0, 0, 0)
    )
    with sqlite_world.begin() as connection:
        users, workflows = table(User), table(Workflow)
        connection.execute(
            sa.update(users).where(users.c.id == 7).values(company=HOSTILE[0], preferences=HOSTILE)
        )
        for index, text in enumerate(HOSTILE):
            connection.execute(
                sa.update(workflows)
                .where(workflows.c.id == 7000 + index)
                .values(name=text, description=text)
            )
    for reference, person in (("HOSTILE", 7), ("DE", 13), ("NOTHING", 9)):
        sqlite_world.request(person, reference)
    return sqlite_world


def test_page_in_chromium_is_silent_accessible_and_fits(
    world_of_people: World, tmp_path: Path
) -> None:
    pages = {
        name: unpacked_page(world_of_people, name, tmp_path / name)
        for name in ("HOSTILE", "DE", "NOTHING")
    }
    views = [
        ("HOSTILE", TELEPHONE, "light"),
        ("HOSTILE", DESKTOP, "dark"),
        ("DE", TELEPHONE, "dark"),
        ("DE", DESKTOP, "light"),
        ("NOTHING", TELEPHONE, "light"),
    ]

    seen_of = look(*((pages[name], width, scheme) for name, width, scheme in views))

    for (name, *view), seen in zip(views, seen_of, strict=True):
        assert seen["requests"] == [pages[name].as_uri()]
        assert seen["complaints"] == []  # of its policy, of scripts, of anything
        assert seen["scripts"] == 0
        assert seen["violations"] == [], (name, view)  # of accessibility
        assert seen["passes"] > 20
        assert seen["styled"] == "absolute"  # the policy lets the page's own style in
        assert not seen["tooWide"], (name, view)
        assert seen["broken"] == []
        assert seen["language"] == ("de" if name == "DE" else "en")
        assert "Example & Söhne <Ltd>" in seen["text"]
        if name == "HOSTILE":
            for text in HOSTILE:  # in preferences, as a name and as a description
                assert seen["text"].count(text) >= 3, text


def test_report_in_chromium_is_silent_accessible_and_fits(
    sqlite_world: World, tmp_path: Path
) -> None:
    pages = [tmp_path / "empty.html", tmp_path / "report.html"]
    pages[0].write_text(render(make_report(sqlite_world.database_url, SYSTEM_CLOCK, MARCH)))
    fill(sqlite_world)
    pages[1].write_text(render(make_report(sqlite_world.database_url, SYSTEM_CLOCK, MARCH)))
    views = [
        (page, width, scheme)
        for page in pages
        for width, scheme in ((TELEPHONE, "light"), (DESKTOP, "dark"))
    ]
    for view, seen in zip(views, look(*views), strict=True):
        assert seen["requests"] == [view[0].as_uri()]
        assert seen["complaints"] == []
        assert seen["scripts"] == 0
        assert seen["violations"] == [], view
        assert seen["passes"] > 15
        assert not seen["tooWide"], view
        assert ("No request was received" in seen["text"]) == (view[0] is pages[0])

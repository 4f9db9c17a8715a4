"""Where it is measured: a new database of each kind, and the environment of what runs on it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backend.settings import CHECKOUT_ROOT
from tests.harness import World
from tests.servers import Server, installed
from tests.worlds import a_database


@dataclass(frozen=True)
class Place:
    """A migrated database of our own server, an export root, and a folder for other ways' files."""

    kind: str
    world: World
    server: Server | None

    @property
    def folder(self) -> Path:
        return self.world.root

    def environment(self, **settings: object) -> dict[str, str]:
        """What a process on this place is started with; settings as for ``World.variables``."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DSAR_")}
        kept["PYTHONPATH"] = str(CHECKOUT_ROOT)
        return kept | self.world.variables(log_level="WARNING", **settings)

    @property
    def plain_url(self) -> str:
        """The database's URL as libpq and other programs know it."""
        driver = {"postgresql": "postgresql", "mariadb": "mariadb", "sqlite": "sqlite"}[self.kind]
        url = self.world.engine.url.set(drivername=driver)
        return url.render_as_string(hide_password=False)


@contextmanager
def a_place(kind: str) -> Iterator[Place]:
    """A new place, deleted at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="dsar-bench-") as folder,
        a_database(kind, Path(folder)) as (url, server),
    ):
        world = World(url, Path(folder)).migrate()
        try:
            yield Place(kind, world, server)
        finally:
            world.close()


def available(kind: str) -> bool:
    """Whether this machine has that database."""
    return kind != "mariadb" or installed("mariadbd") is not None

"""A world for a test: a migrated database, an export root, and processes that work on them.

Processes are real ones, started as a user would start them. What a test waits for it polls, with a
deadline; nothing sleeps and hopes.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.engine import Connection, Engine

from backend.app import create_app, db
from backend.clock import SYSTEM_CLOCK, Clock
from backend.engines import make_control_engine
from backend.extensions import Runtime, current_runtime
from backend.migrations.runner import migrate
from backend.models import DSARAttempt, DSARRequest, WorkflowRun
from backend.services.assembly import Services
from backend.settings import Settings, load_settings
from tests import launcher
from tests.factories import Person, insert_people, insert_request, multiply, table
from tests.launcher import Started

REQUESTS = table(DSARRequest)
ATTEMPTS = table(DSARAttempt)
DEADLINE_SECONDS = 60.0
# Threads of one test read settings of the same world; what one of them took back, another had not
# read yet, and the process was left without a PATH.
_environ_of_one_thread = threading.Lock()


def wait_for(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """Poll until a condition gives something true; fail with ``what`` when it never does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s in vain for: {what}")


@dataclass(frozen=True)
class Done:
    """A finished process."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.stdout)
        assert isinstance(value, dict)
        return value

    @property
    def logs(self) -> list[dict[str, Any]]:
        lines = [line for line in self.stderr.splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines]


@dataclass
class World:
    """One database and one export root. ``environment`` is added to every process started."""

    database_url: str
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    clock: Clock = SYSTEM_CLOCK

    # -- the database ------------------------------------------------------------------------

    def __post_init__(self) -> None:
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = make_control_engine(self.database_url, create=True)
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            yield connection

    def migrate(self) -> World:
        migrate(self.settings())
        return self

    def people(self, *people: Person, times: int = 1) -> None:
        """Insert people, and (once) the member of staff who acts in their logs.

        ``times``: of each run (whoever's) there are so many, where it takes a multitude.
        """
        with self.begin() as connection:
            staff = connection.execute(sa.text("SELECT 1 FROM users WHERE id = 1")).first()
            if staff is None:
                insert_people(connection, [Person(1, 0, 0, 0, 0)])
            insert_people(connection, people)
            if times > 1:
                multiply(connection, WorkflowRun, times)

    def request(self, user_id: Any, reference: str | None, **values: Any) -> int:
        with self.begin() as connection:
            return insert_request(connection, user_id, reference, **values)

    def row(self, reference: str) -> dict[str, Any]:
        found = self.rows(REQUESTS.c.gdpr_reference_id == reference)
        assert len(found) == 1, f"{reference}: {len(found)} rows"
        return found[0]

    def rows(self, *conditions: Any) -> list[dict[str, Any]]:
        query = sa.select(REQUESTS).where(*conditions).order_by(REQUESTS.c.id)
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def attempts(self, request_id: int | None = None) -> list[dict[str, Any]]:
        query = sa.select(ATTEMPTS).order_by(ATTEMPTS.c.request_id, ATTEMPTS.c.claim_token)
        if request_id is not None:
            query = query.where(ATTEMPTS.c.request_id == request_id)
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def update(self, reference: str, **values: Any) -> None:
        with self.begin() as connection:
            connection.execute(
                sa.update(REQUESTS)
                .where(REQUESTS.c.gdpr_reference_id == reference)
                .values(**values)
            )

    # -- in this process ---------------------------------------------------------------------

    def variables(self, **settings: Any) -> dict[str, str]:
        """The DSAR_* variables of this world. ``settings`` by their names in ``Settings``."""
        variables = {
            "DSAR_DATABASE_URL": self.database_url,
            "DSAR_EXPORT_ROOT": str(self.root / "exports"),
            "DSAR_HEARTBEAT_PATH": str(self.root / "run" / "heartbeat"),
            "DSAR_MIN_FREE_BYTES": "0",
            **self.environment,
        }
        return variables | {f"DSAR_{k.upper()}": str(v) for k, v in settings.items()}

    def settings(self, **settings: Any) -> Settings:
        variables = self.variables(**settings)
        with _environ_of_one_thread:
            before = {key: os.environ.get(key) for key in variables}
            os.environ.update(variables)
            try:
                return load_settings()
            finally:
                for key, value in before.items():
                    if value is None:
                        del os.environ[key]
                    else:
                        os.environ[key] = value

    def app(self, **settings: Any) -> Flask:
        return create_app(self.settings(**settings), clock=self.clock)

    @contextmanager
    def services(self, **settings: Any) -> Iterator[Services]:
        """The services within an application context; connections are closed at the end."""
        with self.app(**settings).app_context():
            runtime: Runtime = current_runtime()
            try:
                yield Services.of(runtime)
            finally:
                runtime.disconnect()
                db.session.remove()
                db.engine.dispose()

    # -- processes ---------------------------------------------------------------------------

    def start(
        self, *arguments: str, stderr: int | IO[str] = subprocess.PIPE, **settings: Any
    ) -> Started:
        """Start ``python -m`` with these arguments, in a session of its own."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DSAR_")}
        return launcher.start(*arguments, env=kept | self.variables(**settings), stderr=stderr)

    def run(self, *arguments: str, timeout: float = 120, **settings: Any) -> Done:
        process = self.start(*arguments, **settings)
        return finish(process, timeout)

    def dsar(self, *arguments: str, **settings: Any) -> Done:
        return self.run("backend.cli.dsar_commands", *arguments, **settings)

    def sweep(self, *arguments: str, timeout: float = 240, **settings: Any) -> Done:
        return self.run("scheduler", "sweep", "--once", *arguments, timeout=timeout, **settings)

    # -- files -------------------------------------------------------------------------------

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    def public(self, reference: str) -> Path:
        return self.exports / f"levqor-dsar-{reference}.zip"

    def versions(self) -> list[str]:
        """What claims have left, without the mark of whose exports these are."""
        folder = self.exports / ".versions"
        found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        return sorted(found - {".database"})

    def check_invariants(self) -> None:
        """What must be true whenever nothing runs; see DESIGN, invariants 1 to 4."""
        wanted: set[str] = set()
        linked: set[str] = set()
        for row in self.rows():
            if row["export_state"] != DSARRequest.EXPORT_RECORDED:
                continue
            name = f"{row['id']}.{row['export_claim_token']}.zip"
            version = self.exports / ".versions" / name
            content = version.read_bytes()
            assert len(content) == row["export_bytes_size"], name
            assert hashlib.sha256(content).hexdigest() == row["export_sha256"], name
            public = self.public(row["gdpr_reference_id"])
            assert public.samefile(version), f"{public.name} is not {name}"
            assert row["export_storage_path"] == str(public)
            assert row["export_claim_token"] <= row["claim_token"]
            wanted.add(name)
            linked.add(public.name)
        for row in self.rows(REQUESTS.c.status == DSARRequest.STATUS_PROCESSING):
            name = f"{row['id']}.{row['claim_token']}"
            wanted |= {f"{name}.zip", f"{name}.part"} & set(self.versions())
        assert set(self.versions()) == wanted
        if self.exports.is_dir():
            assert {p.name for p in self.exports.glob("levqor-dsar-*.zip")} == linked


def finish(process: Started, timeout: float = DEADLINE_SECONDS) -> Done:
    """Wait for a process; kill its whole session when it does not end."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        raise AssertionError(f"did not end in {timeout} s; stderr: {stderr[-2000:]}") from None
    return Done(process.wait(), stdout, stderr)


def unpacked(path: Path) -> Mapping[str, bytes]:
    """A ZIP's files by their names without the root folder."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        roots = {name.split("/", 1)[0] for name in archive.namelist()}
        assert len(roots) == 1, roots
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def members(path: Path) -> Mapping[str, Any]:
    """The data in a ZIP: its JSON files by name, parsed strictly; without their schemas."""
    return {
        name: json.loads(content, parse_constant=_refuse)
        for name, content in unpacked(path).items()
        if name.endswith(".json") and "/" not in name
    }


def check_schemas(path: Path) -> None:
    """Hold every JSON file of a ZIP to the schema that lies beside it."""
    from jsonschema import Draft202012Validator

    found = unpacked(path)
    data = members(path)
    wanted = {f"schemas/{name.removesuffix('.json')}.schema.json" for name in data}
    assert {name for name in found if name.startswith("schemas/")} == wanted
    for name, value in data.items():
        schema = json.loads(found[f"schemas/{name.removesuffix('.json')}.schema.json"])
        Draft202012Validator(schema).validate(value)


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")

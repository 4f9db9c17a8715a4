"""``dsar doctor``: each thing that is wrong is found, with a remedy; nothing secret is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from backend import package_files
from backend.errors import SectionError
from backend.extensions import current_runtime
from backend.services.doctor import database
from backend.services.doctor.checks import BAD, OK, WARN, Check, made
from backend.services.doctor.examination import examine
from backend.services.dsar_collectors import collection
from backend.services.metrics import read_state
from backend.services.requests import Requests
from tests.factories import Person
from tests.harness import World

CONTROLLER = {
    "controller_name": "Levqor Ltd",
    "controller_contact": "privacy@levqor.example",
    "complaint_authority": "the Data Protection Commission",
}


def examined(world: World, **settings: Any) -> dict[str, Check]:
    """The checks of an examination in this process, by name."""
    with world.app(**settings).app_context():
        runtime = current_runtime()
        try:
            return {each.name: each for each in examine(runtime, collection(runtime))}
        finally:
            runtime.disconnect()


def states(checks: dict[str, Check]) -> dict[str, str]:
    # Whether the tests run as root is not what is examined.
    return {name: check.state for name, check in checks.items() if name != "user"}


def test_doctor_finds_a_well_installation_well(world: World) -> None:
    world.people(Person(7, runs=1))
    world.request(7, "A", requested_at=datetime.now(UTC))
    world.sweep()
    heartbeat = world.settings().heartbeat_path
    heartbeat.parent.mkdir(parents=True)
    heartbeat.touch()

    checks = examined(world, min_free_bytes=1, **CONTROLLER)

    assert set(states(checks).values()) == {OK}, checks
    assert {"database", "schema", "rights", "time zone", "clock", "sections"} <= set(checks)
    assert all(check.remedy is None for check in checks.values() if check.state == OK)


def test_doctor_controller_that_nobody_named_is_told(sqlite_world: World) -> None:
    some = CONTROLLER | {"controller_contact": "TODO"}
    check = examined(sqlite_world, **some)["controller"]
    assert (check.state, check.found) == (WARN, "nobody is named by DSAR_CONTROLLER_CONTACT")


def test_doctor_command_exits_with_one_and_prints_remedies(sqlite_world: World) -> None:
    sqlite_world.request(7, "OLD", requested_at=datetime(2025, 1, 1, tzinfo=UTC))

    done = sqlite_world.dsar("doctor")

    assert done.returncode == 1
    assert not done.json["ok"]
    found = {check["name"]: check for check in done.json["checks"]}
    assert found["deadlines"]["found"] == "1 overdue"
    assert found["sweeps"]["state"] == BAD
    assert all(check["remedy"] for check in found.values() if check["state"] != OK)
    assert done.stderr.splitlines() == ["error: 2 check(s) are bad; the remedy stands beside each"]
    assert "OLD" not in done.stdout


def test_doctor_request_entered_with_its_day_of_receipt_is_not_yet_unswept(world: World) -> None:
    world.people(Person(7, runs=1))
    received = datetime.now(UTC) - timedelta(days=9)
    with world.services() as services:
        Requests(services.controller).open(7, reference_id="LETTER", received_at=received)
        assert read_state(services.controller).oldest_pending_seconds < 120
    assert examined(world)["sweeps"].state == OK

    entered = datetime.now(UTC) - timedelta(hours=1)
    world.update("LETTER", next_attempt_at=entered)
    check = examined(world)["sweeps"]
    assert (check.state, check.found) == (BAD, "1 request has been due for over 15 minutes")
    world.request(7, "APPLICATION", requested_at=entered)
    assert examined(world)["sweeps"].found == "2 requests have been due for over 15 minutes"

    with world.services() as services:
        claim = services.claims.claim_due(datetime.now(UTC), worker="w:1")
        assert claim is not None and claim.reference_id == "LETTER"


def test_doctor_wrong_setting_is_its_only_finding(sqlite_world: World) -> None:
    done = sqlite_world.dsar("doctor", lease_seconds="soon")

    assert done.returncode == 1
    (check,) = done.json["checks"]
    assert (check["name"], check["state"]) == ("settings", BAD)
    assert "DSAR_LEASE_SECONDS" in check["found"]
    assert check["remedy"].startswith("mend it where it is set")


def test_doctor_misspelt_setting_is_told(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSAR_LEASE_SECOND", "1")

    assert "DSAR_LEASE_SECOND" in examined(sqlite_world)["settings"].found


def test_doctor_unmigrated_database_says_migrate(database_url: str, tmp_path: Path) -> None:
    checks = examined(World(database_url, tmp_path))

    name = "database" if database_url.startswith("sqlite") else "schema"
    assert checks[name].state == BAD
    assert checks[name].remedy == "run: dsar migrate"
    assert "rights" not in checks
    assert list(tmp_path.glob("*.sqlite3")) == []


def test_doctor_unreachable_database_shows_no_password(tmp_path: Path) -> None:
    world = World("postgresql://u:pa55word@127.0.0.1:1/x", tmp_path)

    done = world.dsar("doctor")

    found = {check["name"]: check for check in done.json["checks"]}
    assert found["database"]["state"] == BAD
    assert "check that it runs" in found["database"]["remedy"]
    assert "sections" not in found  # they are in the same database, of which that was said
    assert "pa55word" not in done.stdout + done.stderr


def test_doctor_file_that_is_no_database_is_one_finding(tmp_path: Path) -> None:
    path = tmp_path / "junk.sqlite3"
    path.write_bytes(b"junk" * 1000)

    done = World(f"sqlite:///{path}", tmp_path).dsar("doctor")

    bad = [check for check in done.json["checks"] if check["state"] == BAD]
    assert [check["name"] for check in bad] == ["database"]
    assert "not a SQLite database" in str(bad[0])


@contextmanager
def nobody() -> Iterator[None]:
    """As a user who is not root, whom no folder's mode stops."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_doctor_folder_that_may_not_be_entered_is_named_with_a_remedy(
    sqlite_world: World,
) -> None:
    closed = sqlite_world.root / "closed"
    closed.mkdir()
    file = closed / "folder" / "dsar.sqlite3"
    settings = {"database_url": f"sqlite:///{file}", "export_root": str(closed / "exports")}
    with sqlite_world.app(**settings).app_context():
        runtime = current_runtime()
        declared = collection(runtime)
        closed.chmod(0)
        try:
            with nobody():
                checks = {each.name: each for each in examine(runtime, declared)}
        finally:
            closed.chmod(0o700)
            runtime.disconnect()

    for name, path in (("database", file), ("export root", closed / "exports")):
        assert checks[name].state == BAD
        assert str(path) in checks[name].found
        assert f"namei -l {path}" in (checks[name].remedy or ""), checks[name]


def test_doctor_file_of_the_program_that_is_missing_is_told(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_files, "DATA_FILES", ("services/page/gone.html.j2",))

    check = examined(sqlite_world)["program"]

    assert (check.state, check.remedy) == (BAD, "install this release again")
    assert "services/page/gone.html.j2" in check.found


def test_doctor_missing_rights_are_named(postgresql_world: World) -> None:
    world = postgresql_world
    role = f"reader_{os.getpid()}"
    with world.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        connection.exec_driver_sql(f"REVOKE SELECT ON workflows FROM {role}")
        connection.exec_driver_sql(f"GRANT INSERT ON dsar_sweeps TO {role}")
    url = make_url(world.database_url).set(username=role)
    try:
        checks = examined(world, database_url=url.render_as_string(hide_password=False))
    finally:
        with world.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")

    rights, sections = checks["rights"], checks["sections"]
    assert (rights.state, sections.state) == (BAD, BAD)
    assert "INSERT UPDATE DELETE on dsar_requests" in rights.found
    assert f"GRANT UPDATE, DELETE ON dsar_sweeps TO {role};" in (rights.remedy or "")
    assert f"GRANT USAGE ON SEQUENCE public.dsar_requests_id_seq TO {role};" in (
        rights.remedy or ""
    )
    assert checks["schema"].state == OK  # what may be read is looked at all the same
    assert "table workflows (" in sections.found and "users" not in sections.found
    assert sections.remedy == f"GRANT SELECT ON workflows TO {role};"


def test_doctor_schema_that_may_not_be_entered_is_granted_and_not_migrated(
    postgresql_world: World,
) -> None:
    world = postgresql_world
    role = f"outside_{os.getpid()}"
    with world.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        connection.exec_driver_sql("REVOKE USAGE ON SCHEMA public FROM public")
    url = make_url(world.database_url).set(username=role)
    try:
        checks = examined(world, database_url=url.render_as_string(hide_password=False))
    finally:
        with world.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")

    remedy = f"GRANT USAGE ON SCHEMA public TO {role};"
    assert {name: check.remedy for name, check in checks.items() if check.state == BAD} == {
        "schema": remedy,
        "sections": remedy,
    }


def test_doctor_source_that_is_away_is_blamed_on_its_own_setting(sqlite_world: World) -> None:
    away = "postgresql://reader@127.0.0.1:1/app"

    check = examined(sqlite_world, source_database_url=away)["sections"]

    assert check.state == BAD
    assert "(DSAR_SOURCE_DATABASE_URL): the database cannot be reached" in check.found


@pytest.mark.parametrize("table", ["dsar_requests", "dsar_schema_version"])
def test_doctor_table_that_may_not_be_read_is_one_finding_with_its_grant(
    server_world: World, table: str
) -> None:
    world = server_world
    role = f"blind_{os.getpid()}"
    postgresql = world.engine.dialect.name == "postgresql"
    with world.begin() as connection:
        if postgresql:
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
            connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
            connection.exec_driver_sql(f"REVOKE SELECT ON {table} FROM {role}")
        else:
            connection.exec_driver_sql(f"CREATE USER {role}")
            for name in set(sa.inspect(connection).get_table_names()) - {table}:
                connection.exec_driver_sql(f"GRANT ALL ON {name} TO {role}")
            connection.exec_driver_sql(f"GRANT INSERT, UPDATE, DELETE ON {table} TO {role}")
    url = make_url(world.database_url).set(username=role)
    text = url.render_as_string(hide_password=False)
    try:
        checks = examined(world, database_url=text)
        listed = world.dsar("list", database_url=text)
    finally:
        with world.begin() as connection:
            if postgresql:
                connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP {'ROLE' if postgresql else 'USER'} {role}")

    bad = [check for check in checks.values() if check.state == BAD]
    assert [check.name for check in bad] == ["rights"]
    assert f"GRANT SELECT ON {table} TO {role};" in (bad[0].remedy or "")
    assert listed.returncode == 1
    assert table in listed.stderr and "grant it to this role" in listed.stderr


@pytest.mark.parametrize("may_write", [True, False])
def test_doctor_source_role_that_may_write_is_a_warning(
    postgresql_world: World, may_write: bool
) -> None:
    world = postgresql_world
    role = f"source_{os.getpid()}"
    with world.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        rights = "SELECT, UPDATE" if may_write else "SELECT"
        connection.exec_driver_sql(f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {role}")
    url = make_url(world.database_url).set(username=role)
    try:
        checks = examined(world, source_database_url=url.render_as_string(hide_password=False))
    finally:
        with world.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")

    assert checks["sections"].state == OK
    assert ("roles" in checks) is may_write


def test_doctor_clock_that_is_off_is_told(postgresql_world: World) -> None:
    class Late:
        def now(self) -> datetime:
            return datetime.now(UTC) - timedelta(hours=1)

        def monotonic(self) -> float:
            return 0.0

    postgresql_world.clock = Late()

    clock = examined(postgresql_world)["clock"]

    assert clock.state == WARN
    assert "differ by 3600 s" in clock.found or "differ by 3599 s" in clock.found


def test_doctor_time_zone_of_the_server_matters_where_columns_have_none(
    postgresql_world: World,
) -> None:
    world = postgresql_world
    with world.begin() as connection:
        name = make_url(world.database_url).database
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET TimeZone = 'Europe/Vienna'")
    assert examined(world)["time zone"].state == OK
    with world.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE dsar_requests ALTER requested_at TYPE timestamp USING requested_at"
        )

    zone = examined(world)["time zone"]

    assert (zone.state, "Europe/Vienna" in zone.found) == (WARN, True)


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("10.5.29-MariaDB-log", True),
        ("10.11.6-MariaDB", False),
        ("5.5.5-10.6.0-MariaDB", False),
        ("8.0.36", True),
    ],
)
def test_doctor_database_that_cannot_skip_locked_rows_is_bad(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch, text: str, bad: bool
) -> None:
    class Answer:
        def scalar_one(self) -> str:
            return text

    class Opened:
        class dialect:  # noqa: N801
            name = "mysql"
            server_version_info = None

        def exec_driver_sql(self, _: str) -> Answer:
            return Answer()

    product = database._product(Opened())  # type: ignore[arg-type]
    monkeypatch.setattr(database, "_product", lambda _: product)

    check = examined(sqlite_world)["database"]

    assert (check.state == BAD) is bad
    assert bad is ("MariaDB 10.6" in (check.remedy or ""))


def loose_root(world: World) -> None:
    world.exports.chmod(0o755)


def loose_version(world: World) -> None:
    for path in (world.exports / ".versions").iterdir():
        path.chmod(0o644)


def loose_database(world: World) -> None:
    Path(make_url(world.database_url).database or "").chmod(0o644)


def no_root(world: World) -> None:
    (world.exports / ".versions").rename(world.root / "v")
    for path in world.exports.iterdir():
        path.unlink()
    world.exports.rmdir()


def file_for_root(world: World) -> None:
    no_root(world)
    world.exports.write_text("a file")


def stale_heartbeat(world: World) -> None:
    path = world.settings().heartbeat_path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (0, 0))


def lost_lease(world: World) -> None:
    world.request(7, "B", requested_at=datetime.now(UTC))
    with world.services(lease_seconds=1) as services:
        services.claims.claim_reference("B", worker="w")
    world.update("B", lease_expires_at=datetime.now(UTC) - timedelta(seconds=5))


def failed(world: World) -> None:
    world.request(None, "NOBODY", requested_at=datetime.now(UTC))
    world.sweep()


@pytest.mark.parametrize(
    ("spoil", "name", "state", "remedy"),
    [
        (loose_root, "permissions", WARN, "chmod"),
        (loose_version, "permissions", WARN, "chmod"),
        (loose_database, "SQLite file", WARN, "chmod 0600"),
        (no_root, "export root", WARN, "mount"),
        (file_for_root, "export root", BAD, "look at it"),
        (stale_heartbeat, "scheduler", BAD, "restart"),
        (lost_lease, "leases", WARN, "sweep --once"),
        (failed, "failed requests", WARN, "dsar list --status failed"),
    ],
)
def test_doctor_finds(
    sqlite_world: World, spoil: Callable[[World], None], name: str, state: str, remedy: str
) -> None:
    world = sqlite_world
    world.people(Person(7, runs=1))
    world.request(7, "A", requested_at=datetime.now(UTC))
    world.sweep()
    spoil(world)

    check = examined(world)[name]

    assert check.state == state
    assert remedy in (check.remedy or ""), check


def test_doctor_root_that_nobody_may_make_says_how(sqlite_world: World) -> None:
    # Not even root may make a folder there.
    check = examined(sqlite_world, export_root="/proc/dsar/exports")["export root"]

    assert check.state in (WARN, BAD)
    assert check.remedy


@pytest.mark.parametrize(("minimum", "state"), [(0.6, WARN), (2, BAD)])
def test_doctor_disk_nearly_full(sqlite_world: World, minimum: float, state: str) -> None:
    sqlite_world.exports.mkdir(mode=0o700)
    found = os.statvfs(sqlite_world.exports)
    free = found.f_bavail * found.f_frsize

    check = examined(sqlite_world, min_free_bytes=int(free * minimum))["disk space"]

    assert check.state == state


def test_doctor_textfile_without_its_folder_is_told(sqlite_world: World) -> None:
    check = examined(sqlite_world, metrics_textfile="/nonexistent/dsar.prom")["metrics"]

    assert (check.state, "/nonexistent" in check.found) == (WARN, True)


@pytest.mark.parametrize(
    ("key", "value"), [("textfile", "/tmp/dsar.prom"), ("listen", "127.0.0.1:9464")]
)
def test_doctor_metrics_without_their_package_are_bad(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    assert "metrics" not in examined(sqlite_world, **{f"metrics_{key}": value})
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    check = examined(sqlite_world, **{f"metrics_{key}": value})["metrics"]

    assert check.state == BAD
    assert f"DSAR_METRICS_{key.upper()}" in check.found
    assert "levqor-dsar[metrics]" in (check.remedy or "")


def test_doctor_broken_sections_file_is_to_be_mended_and_not_rolled_back(
    sqlite_world: World, tmp_path: Path
) -> None:
    path = tmp_path / "sections.toml"
    path.write_text("[subject]\ntable = users\n")

    with pytest.raises(SectionError) as caught:
        examined(sqlite_world, sections_file=path)

    def look() -> Any:
        raise caught.value

    (check,) = made("settings", look)
    assert check.found.startswith(f"{path}: not TOML")
    assert (check.remedy or "").startswith("mend it in the file that it names")


def test_check_that_raises_is_a_finding_without_its_message() -> None:
    def look() -> Any:
        raise ValueError("somebody@example.org")

    (check,) = made("thing", look)

    assert check.state == BAD
    assert "ValueError" in check.found and "somebody" not in check.found
    assert "unexpected_error" in (check.remedy or "")

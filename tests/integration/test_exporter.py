"""persist_dsar_export and build_dsar_zip_bytes, on every database."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backend import package_files
from backend.app import db
from backend.errors import RequestNotFound, SubjectNotFound, UsageError, WrongSubject
from backend.models import AuditLog, DSARRequest, User
from backend.services.disk_store import DiskStore
from backend.services.dsar_collectors import collect_all_user_data
from backend.services.dsar_exporter import build_dsar_zip_bytes, persist_dsar_export
from backend.services.export_store import Version
from backend.services.page import document
from tests.factories import Person, table
from tests.harness import World, check_schemas, members, unpacked

SECTIONS = ["account", "workflows", "workflow_runs", "api_tokens", "audit_logs", "dsar_request"]


@pytest.fixture
def ada(world: World) -> World:
    world.people(Person(7, runs=25), Person(8, runs=5))
    world.request(7, "R-7")
    return world


def export(world: World, reference: str, **settings: Any) -> dict[str, Any]:
    with world.services(**settings):
        return persist_dsar_export(reference)


def test_persist_pending_request_gives_archive_and_record(ada: World) -> None:
    result = export(ada, "R-7")

    assert result["ok"] is True
    assert result["file_path"] == str(ada.public("R-7"))
    assert result["bytes"] == ada.public("R-7").stat().st_size == result["meta"]["zip_bytes"]
    row = ada.row("R-7")
    assert row["status"] == "completed"
    assert row["export_bytes_size"] == result["bytes"]
    assert row["completed_at"] is not None
    assert row["last_error"] is None
    assert row["export_storage_path"] == result["file_path"]
    assert [a["outcome"] for a in ada.attempts(row["id"])] == ["completed"]
    ada.check_invariants()


def test_persist_archive_holds_every_section_and_nobody_elses(ada: World) -> None:
    export(ada, "R-7")

    files = members(ada.public("R-7"))
    assert set(files) == {f"{name}.json" for name in SECTIONS} | {"meta.json"}
    assert files["account.json"]["email"] == "person-7@example.org"
    assert len(files["workflow_runs.json"]) == 25
    assert {run["user_id"] for run in files["workflow_runs.json"]} == {7}
    assert len(files["audit_logs.json"]) == 10
    assert files["dsar_request.json"]["gdpr_reference_id"] == "R-7"
    text = json.dumps(files, ensure_ascii=False)
    assert "person-8" not in text
    assert "never-exported" not in text and "NEVEREXPORTED" not in text and "never-7" not in text
    assert "[withheld: credential]" in text


def test_persist_meta_states_what_the_law_wants(ada: World) -> None:
    meta = export(ada, "R-7")["meta"]

    assert meta["schema_version"] == "2025-11-DSAR-01"
    assert meta["reference_id"] == "R-7" and meta["user_id"] == 7
    assert meta["sections"] == SECTIONS
    assert len(meta["notes"]) == 2
    assert meta["section_details"]["workflow_runs"]["rows"] == 25
    assert meta["section_details"]["account"]["withheld"]["password_hash"] == "credential"
    assert meta["controller"]["name"] is None and meta["rights"][0]["right"] == "access"
    for details in meta["section_details"].values():
        assert details["searched"] and details["categories"] and len(details["sha256"]) == 64
        assert datetime.fromisoformat(details["snapshot_at"]).tzinfo is not None
    assert meta["section_details"]["account"]["snapshot_at"] == meta["snapshot_at"]
    written = members(ada.public("R-7"))["meta.json"]
    assert written == {k: v for k, v in meta.items() if k != "zip_bytes"}


def test_persist_log_line_by_staff_is_masked_but_kept(ada: World) -> None:
    with ada.begin() as connection:
        details = {"field": "name", "actor_name": "Sam Staff", "staff": {"email": "s@example.org"}}
        connection.execute(sa.update(table(AuditLog)).values(details=details))
    export(ada, "R-7")

    logs = members(ada.public("R-7"))["audit_logs.json"]
    theirs = [line for line in logs if line["action"] == "support.viewed_account"]
    assert theirs
    for line in theirs:
        assert line["actor_user_id"] == line["ip_address"] == "[masked: another person]"
        assert line["subject_user_id"] == 7
        assert line["details"] == {
            "field": "name", "actor_name": "[masked: another person]",
            "staff": "[masked: another person]",
        }  # fmt: skip
    own = [line for line in logs if line["action"] == "workflow.edited"]
    assert all(line["actor_user_id"] == 7 for line in own)
    assert all(line["details"]["actor_name"] == "Sam Staff" for line in own)  # it is their name


def test_persist_completed_request_again_replaces_the_version(ada: World) -> None:
    first = export(ada, "R-7")
    before = ada.row("R-7")
    ada.people(Person(70, runs=1))

    second = export(ada, "R-7")

    assert first["ok"] and second["ok"]
    after = ada.row("R-7")
    assert after["completed_at"] == before["completed_at"]
    assert after["exported_at"] > before["exported_at"]
    assert ada.versions() == [f"{after['id']}.2.zip"]
    ada.check_invariants()


def test_persist_failed_reexport_leaves_the_record_untouched(ada: World) -> None:
    export(ada, "R-7")
    before = ada.row("R-7")
    rename(ada, "audit_logs", "audit_logs_gone")

    result = export(ada, "R-7")

    assert result["ok"] is False
    after = ada.row("R-7")
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"claim_token"}
    ada.check_invariants()


def rename(world: World, old: str, new: str) -> None:
    with world.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")


def test_persist_transient_failure_backs_off(ada: World) -> None:
    rename(ada, "audit_logs", "audit_logs_gone")

    result = export(ada, "R-7")

    assert result["ok"] is False and result["outcome"] == "retried"
    row = ada.row("R-7")
    assert row["status"] == "pending" and row["attempts"] == 1
    assert row["last_error"].startswith("query_failed ")
    assert "person-7" not in row["last_error"] and "audit_logs" not in row["last_error"]
    (attempt,) = ada.attempts(row["id"])
    assert attempt["outcome"] == "retried" and attempt["error_code"] == "query_failed"
    assert row["next_attempt_at"] > attempt["finished_at"]
    assert ada.versions() == []


def test_persist_last_attempt_fails_for_good(ada: World) -> None:
    rename(ada, "audit_logs", "audit_logs_gone")

    result = export(ada, "R-7", max_attempts=1)

    assert result["outcome"] == "failed"
    assert ada.row("R-7")["status"] == "failed"


@pytest.mark.parametrize(
    ("user_id", "reference", "code"),
    [
        (None, "NOBODY", "subject_missing"),
        (4711, "GONE", "subject_not_found"),
        (7, "../../etc/x", "bad_reference"),
        (7, ".hidden", "bad_reference"),
        (7, "a b", "bad_reference"),
        (7, "x" * 101, "bad_reference"),
        (7, "line\n", "bad_reference"),
    ],
)
def test_persist_hopeless_request_fails_at_once(
    ada: World, user_id: int | None, reference: str, code: str
) -> None:
    ada.request(user_id, reference)

    result = export(ada, reference)

    assert result["ok"] is False and result["error_code"] == code
    assert result["outcome"] == "failed"
    (row,) = ada.rows(table(DSARRequest).c.gdpr_reference_id == reference)
    assert row["status"] == "failed" and row["last_error"].startswith(code)
    assert not [path for path in ada.root.rglob("*") if path.is_file() and ".zip" in path.name]


def test_persist_unknown_reference_says_not_found(ada: World) -> None:
    result = export(ada, "R-404")

    assert result["ok"] is False
    assert result["error_code"] == "request_not_found" and result["reference_id"] == "R-404"


def test_persist_cancelled_request_is_refused(ada: World) -> None:
    ada.update("R-7", status="cancelled")

    result = export(ada, "R-7")

    assert result["error_code"] == "wrong_state"
    assert ada.row("R-7")["claim_token"] == 0


def test_persist_request_of_another_worker_is_busy(ada: World) -> None:
    with ada.services() as services:
        claim = services.claims.claim_reference("R-7", worker="other:1")
        result = persist_dsar_export("R-7")

        assert result["error_code"] == "being_exported" and result["exit_code"] == 75
        assert persist_dsar_export("R-7", claim=claim)["ok"] is True


def test_persist_reference_in_other_capitals_is_the_same_request(ada: World) -> None:
    assert export(ada, "r-7")["reference_id"] == "R-7"
    assert ada.public("R-7").exists()


@pytest.mark.parametrize("change", ["new", "flushed", "core", "text"])
def test_persist_with_uncommitted_session_refuses(ada: World, change: str) -> None:
    def new() -> None:
        db.session.add(User(id=99, email="x@example.org", name="x"))

    def flushed() -> None:
        db.session.add(User(id=99, email="x@example.org", name="x"))
        db.session.flush()

    changes: dict[str, Callable[[], object]] = {
        "new": new,
        "flushed": flushed,
        "core": lambda: db.session.execute(sa.update(User).values(name="y")),
        "text": lambda: db.session.execute(sa.text("UPDATE users SET name = 'z'")),
    }
    with ada.services():
        changes[change]()
        with pytest.raises(UsageError, match=r"db\.session"):
            persist_dsar_export("R-7")
        db.session.rollback()
        assert persist_dsar_export("R-7")["ok"] is True
        db.session.remove()


def test_persist_expires_the_session(ada: World) -> None:
    with ada.services():
        request = db.session.execute(sa.select(DSARRequest)).scalar_one()
        assert request.status == DSARRequest.STATUS_PENDING
        db.session.commit()
        assert persist_dsar_export("R-7")["ok"] is True
        assert request.status == DSARRequest.STATUS_COMPLETED
        db.session.remove()


def test_persist_outside_an_application_context_says_so() -> None:
    with pytest.raises(UsageError, match="app_context"):
        persist_dsar_export("R-7")


def test_build_touches_no_row_and_no_file(ada: World) -> None:
    before = ada.row("R-7")
    with ada.services():
        content, meta = build_dsar_zip_bytes(7, "R-7")

    assert meta["zip_bytes"] == len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == 7 + 7 + 1  # files, their schemas, the page
        assert archive.namelist()[0].startswith("levqor-dsar-R-7-")
    assert ada.row("R-7") == before
    assert not ada.exports.exists()


def test_build_without_a_reference_names_the_folder_by_user(ada: World) -> None:
    with ada.services():
        content, meta = build_dsar_zip_bytes(7, None)

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist()[0].startswith("levqor-dsar-7-")
    assert meta["reference_id"] is None


def test_build_with_somebody_elses_reference_is_refused(ada: World) -> None:
    with ada.services(), pytest.raises(WrongSubject):
        build_dsar_zip_bytes(8, "R-7")


def test_build_for_nobody_is_refused(ada: World) -> None:
    with ada.services():
        with pytest.raises(SubjectNotFound):
            build_dsar_zip_bytes(4711, None)
        with pytest.raises(RequestNotFound):
            build_dsar_zip_bytes(7, "R-404")


def test_collect_gives_the_archives_values(ada: World) -> None:
    with ada.services():
        collected = collect_all_user_data(7, "R-7")

    assert list(collected) == SECTIONS
    assert isinstance(collected["account"], dict) and isinstance(collected["dsar_request"], dict)
    export(ada, "R-7")
    files = members(ada.public("R-7"))
    for name in SECTIONS[:-1]:
        assert files[f"{name}.json"] == collected[name]


def test_persist_person_without_data_states_what_was_searched(ada: World) -> None:
    ada.people(Person(9, 0, 0, 0, 0))
    ada.request(9, "EMPTY")

    export(ada, "EMPTY")

    files = members(ada.public("EMPTY"))
    assert files["workflow_runs.json"] == []
    assert files["meta.json"]["section_details"]["workflow_runs"]["rows"] == 0
    check_schemas(ada.public("EMPTY"))


def test_persist_files_meet_the_schemas_beside_them(ada: World) -> None:
    export(ada, "R-7")
    check_schemas(ada.public("R-7"))


def test_persist_page_is_in_the_persons_language_with_every_row(ada: World) -> None:
    ada.people(Person(13))  # Jörg, de-DE
    ada.request(13, "DE")
    for reference, person, language, runs in (("R-7", 7, "en", 25), ("DE", 13, "de", 10)):
        export(ada, reference)
        page = unpacked(ada.public(reference))["index.html"].decode()
        assert f'<html lang="{language}"' in page
        assert f"person-{person}@example.org" in page
        assert page.count(".pdf") == runs
        assert "never" not in page.lower(), "a credential"


def test_persist_page_left_out_by_setting(ada: World) -> None:
    with ada.services(page=False):
        content, _ = build_dsar_zip_bytes(7, "R-7")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert not any(name.endswith(".html") for name in archive.namelist())


def test_persist_row_that_reuses_a_number_never_meets_the_old_file(ada: World) -> None:
    export(ada, "R-7")
    old = ada.row("R-7")
    with ada.begin() as connection:
        connection.execute(sa.delete(table(DSARRequest)))
    ada.request(8, "R-8", id=old["id"])

    result = export(ada, "R-8")

    assert result["ok"] is True
    row = ada.row("R-8")
    assert row["id"] == old["id"] and row["claim_token"] > old["claim_token"]
    assert members(Path(result["file_path"]))["account.json"]["id"] == 8


def test_persist_version_that_is_not_what_was_written_is_no_export(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens, so nothing but its digest tells."""
    world = sqlite_world
    world.people(Person(7, runs=1))
    world.request(7, "R-7")
    check = DiskStore.check

    def check_on_a_bad_disk(store: DiskStore, request_id: int, token: int) -> Version:
        version = world.exports / ".versions" / f"{request_id}.{token}.zip"
        content = bytearray(version.read_bytes())
        content[200] ^= 1
        version.write_bytes(content)
        return check(store, request_id, token)

    monkeypatch.setattr(DiskStore, "check", check_on_a_bad_disk)

    result = export(world, "R-7")

    assert (result["error_code"], result["outcome"]) == ("version_damaged", "retried")
    assert "not the one that was written" in result["error"]
    assert world.versions() == []


def test_persist_by_a_program_that_lacks_a_file_uses_no_attempt(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sqlite_world
    world.people(Person(7, runs=1))
    world.request(7, "R-7")
    monkeypatch.setattr(package_files, "DATA_FILES", ("services/page/gone.css",))
    monkeypatch.setattr(document, "FOLDER", world.root)
    document._style.cache_clear()

    result = export(world, "R-7")

    assert (result["error_code"], result["trouble"]) == ("package_incomplete", True)
    row = world.row("R-7")
    assert (row["status"], row["attempts"]) == ("pending", 0)
    assert world.versions() == []

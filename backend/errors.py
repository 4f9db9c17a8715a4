"""Every error this program raises on purpose, and the exit code each one leads to.

::

    DSARError
    ├── ConfigurationError          78  an operator must change something before anything can work
    │   ├── SettingsError               a setting is wrong; the message names the key
    │   ├── SchemaError                 the database is not migrated
    │   ├── AdoptionError               an existing table cannot be adopted as it stands
    │   ├── SectionError                a section's declaration is wrong
    │   ├── RootNotOurs                 the export root is another database's
    │   └── PackageIncomplete           the installation lacks a file of its own
    ├── UsageError                   2  the call makes no sense in this state
    ├── BusyError                   75  another worker is exporting the request
    ├── EnvironmentTrouble          69  not the request's fault: no attempt is used
    │   ├── DatabaseUnreachable
    │   ├── DatabaseBusy                a lock was not to be had within its time
    │   ├── OutcomeUnknown              the answer to a COMMIT was lost and cannot be settled yet
    │   └── StoreUnavailable            the export root cannot be written (DiskFull: no room)
    │       └── FilesUnavailable        a folder of files that sections name is away
    ├── PermanentError               1  trying again cannot help
    │   ├── RequestNotFound
    │   ├── SubjectMissing              the request names no user
    │   ├── SubjectNotFound             the user no longer exists
    │   ├── SubjectAmbiguous            another person's key differs by capitals that are ignored
    │   ├── SubjectNotUnique            two rows of the people's table have that key
    │   ├── WrongSubject                the request is another person's
    │   ├── BadReference
    │   ├── KeyNotUsable                no folder's name, or nothing that user_id can hold
    │   ├── ValueTooLarge               a value that the database cannot hand over at once
    │   ├── NotDecryptable              not encrypted to that key, or cut or altered
    │   └── WrongState                  cancelled, or pruned, or not to be changed from here
    ├── TransientError               1  trying again may help
    │   ├── SubjectNotInReplica
    │   ├── ReplicaConflict             a hot standby ended a long read
    │   ├── RowsHidden                  a row-level security policy would leave rows out
    │   ├── SectionFailed               a section's own function could not read what it reads from
    │   ├── VersionDamaged              the file that was just written does not read back
    │   └── ValueUnsupported            a value that no mapping to JSON is documented for
    └── Interrupted                  1  the attempt was stopped; it is nobody's failure
        ├── LeaseLost
        ├── DeadlineExceeded            the export ran past DSAR_EXPORT_TIMEOUT_SECONDS (transient)
        ├── Superseded                  the row is no longer this claim's: cancelled, deleted, taken
        └── Drained

A message may name a reference or a path: it is for the operator's terminal. What is stored or
logged is ``code``, the class and code locations, never the message (see ``failures``).
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 69
EXIT_BUSY: Final = 75
EXIT_CONFIG: Final = 78


class DSARError(Exception):
    """The root. ``code`` is stable and safe to log; the message is for a person."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = EXIT_FAILED


class ConfigurationError(DSARError):
    code = "configuration_error"
    exit_code = EXIT_CONFIG


class SettingsError(ConfigurationError):
    code = "setting_invalid"


class SchemaError(ConfigurationError):
    code = "schema_not_migrated"


class AdoptionError(ConfigurationError):
    code = "adoption_refused"


class SectionError(ConfigurationError):
    code = "section_invalid"


class RootNotOurs(ConfigurationError):
    code = "export_root_not_ours"


class PackageIncomplete(ConfigurationError):
    code = "package_incomplete"


class UsageError(DSARError):
    code = "usage"
    exit_code = EXIT_USAGE


class BusyError(DSARError):
    code = "being_exported"
    exit_code = EXIT_BUSY


class EnvironmentTrouble(DSARError):
    code = "environment_trouble"
    exit_code = EXIT_UNAVAILABLE


class DatabaseUnreachable(EnvironmentTrouble):
    code = "database_unreachable"


class DatabaseBusy(EnvironmentTrouble):
    code = "database_busy"


class OutcomeUnknown(EnvironmentTrouble):
    code = "outcome_unknown"


class StoreUnavailable(EnvironmentTrouble):
    code = "store_unavailable"


class DiskFull(StoreUnavailable):
    code = "disk_full"


class FilesUnavailable(StoreUnavailable):
    """``folder`` is what cannot be read, where that is known."""

    code = "files_unavailable"

    def __init__(self, message: str, folder: str | None = None) -> None:
        super().__init__(message)
        self.folder = folder


class PermanentError(DSARError):
    code = "permanent_error"


class RequestNotFound(PermanentError):
    code = "request_not_found"


class SubjectMissing(PermanentError):
    code = "subject_missing"


class SubjectNotFound(PermanentError):
    code = "subject_not_found"


class SubjectAmbiguous(PermanentError):
    code = "subject_ambiguous"


class SubjectNotUnique(PermanentError):
    code = "subject_not_unique"

    def __init__(self, section: str) -> None:
        super().__init__(
            f"section {section!r} must be one row, and the person has more: see that the key of "
            "[subject] and the section's owner column are unique, correct the rows, or drop "
            "'single' from a section that may have several"
        )


class WrongSubject(PermanentError):
    code = "wrong_subject"


class BadReference(PermanentError):
    code = "bad_reference"


class KeyNotUsable(PermanentError):
    code = "key_not_usable"


class ValueTooLarge(PermanentError):
    """``where`` names section and column, ``limit`` what the database can do."""

    code = "value_too_large"

    def __init__(self, where: str, limit: str, remedy: str) -> None:
        super().__init__(f"{where}: a value is too large; {limit}; {remedy}")
        self.about = f"{where}: {limit}"


class NotDecryptable(PermanentError):
    code = "not_decryptable"


class WrongState(PermanentError):
    code = "wrong_state"


class TransientError(DSARError):
    code = "transient_error"


class SubjectNotInReplica(TransientError):
    code = "subject_not_in_replica"


class ReplicaConflict(TransientError):
    code = "replica_conflict"
    remedy: ClassVar[str] = (
        "the standby ended a long read to go on replaying its primary; set hot_standby_feedback = "
        "on there, or a longer max_standby_streaming_delay"
    )


class RowsHidden(TransientError):
    code = "rows_hidden_by_policy"
    remedy: ClassVar[str] = (
        "as a superuser ALTER ROLE … BYPASSRLS for this role, or let the sections read a view that "
        "the table's owner owns; a policy that shows it every row is not enough"
    )


class SectionFailed(TransientError):
    """``about`` names the section; the function's own ``OSError`` is the cause."""

    code = "section_failed"

    def __init__(self, section: str, error: OSError) -> None:
        self.about = f"section {section}"
        super().__init__(
            f"{self.about}: its function could not read what it reads from "
            f"({error.strerror or type(error).__name__}); look at that"
        )


class VersionDamaged(TransientError):
    code = "version_damaged"


class ValueUnsupported(TransientError):
    code = "value_unsupported"


class Interrupted(DSARError):
    code = "interrupted"


class LeaseLost(Interrupted):
    code = "lease_lost"


class DeadlineExceeded(Interrupted):
    code = "deadline_exceeded"


class Superseded(Interrupted):
    code = "superseded"


class Drained(Interrupted):
    code = "drained"

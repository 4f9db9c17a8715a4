"""``dsar decrypt``: an encrypted export as a ZIP again, by whoever holds a private key."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from backend.cli.console import as_json, print_table, show
from backend.cli.context import services
from backend.errors import UsageError


@click.command()
@click.argument("source", metavar="REFERENCE_OR_FILE")
@click.option(
    "--identity",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file with private keys (of age-keygen, or an OpenSSH key without a passphrase).",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write the ZIP. Default: its own name, in this folder.",
)
@as_json
def decrypt(source: str, identity: Path, output: Path | None, json_wanted: bool) -> None:
    """Decrypt an export into a file of its own (0600). Nothing is overwritten.

    Takes an .age file, or a request's reference, whose export is then read from the store.
    Needs pyrage: pip install 'levqor-dsar[encryption]'.

    \b
    Examples:
      dsar decrypt levqor-dsar-GDPR-TEST-123.zip.age --identity key.txt
      dsar decrypt GDPR-TEST-123 --identity key.txt --output ada.zip
    """
    from backend.services.encryption import decrypt_file
    from backend.services.verification import Verification

    def write(file: IO[bytes], name: str) -> dict[str, object]:
        target = output or Path(name)
        return {"file_path": str(target), "bytes": decrypt_file(file, target, identity)}

    path = Path(source)
    if path.is_file():
        with path.open("rb") as found_file:
            done = write(found_file, path.name.removesuffix(".age").removesuffix(".zip") + ".zip")
    elif "/" in source or path.suffix in (".age", ".zip"):
        raise UsageError(f"there is no file {source}; name an .age file, or a request's reference")
    else:
        with services() as found:
            verification = Verification(found.controller, found.claims, found.store)
            version = verification.recorded(source)
            with found.store.open_version(version.request_id, version.token) as file:
                done = write(file, f"levqor-dsar-{source}.zip")
    value = {"ok": True, **done}
    show(value, json_wanted, lambda: print_table("decrypted", ("what", "value"), value.items()))

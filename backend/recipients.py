"""Whom exports are encrypted to: public keys of age, or of OpenSSH (age-encryption.org/v1)."""

from __future__ import annotations

from typing import Any

from backend.errors import ConfigurationError


def parse_recipient(text: str) -> Any:
    """A public key: ``age1…``, or an ``ssh-ed25519`` or ``ssh-rsa`` one.

    Raises ``ValueError`` with a reason that does not repeat the text; ``ConfigurationError``
    without the package.
    """
    if text.upper().startswith("AGE-SECRET-KEY-"):
        raise ValueError("holds a private key; name the public one (age1…), see: age-keygen -y")
    pyrage = load_pyrage()
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise ValueError(
            "holds what is no public key; write age1… or ssh-ed25519 keys, separated by commas"
        ) from None


def load_pyrage() -> Any:
    """The package that encrypts, imported when it is first needed."""
    try:
        import pyrage
    except ModuleNotFoundError:
        raise ConfigurationError(
            "DSAR_EXPORT_RECIPIENTS: encryption needs pyrage; pip install 'levqor-dsar[encryption]'"
        ) from None
    return pyrage

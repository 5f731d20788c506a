"""Encrypts what must not be readable in a stolen database: crops of faces, their embeddings, signing secrets.

The key is the setting `secret_key`, or else a random one that is made once in `<data_dir>/secret.key`. Replicas that
share a database share the setting. Of several keys, commas between them, the first seals and all of them open: that is
how a key is replaced.
"""

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.settings import Settings

KEY_FILE: Final = "secret.key"


class SealBrokenError(Exception):
    """What was to be opened was sealed with another key, or is damaged."""


class Sealer:
    """Seals and opens bytes; makes keyed fingerprints. Safe to share between threads."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._boxes = MultiFernet([Fernet(base64.urlsafe_b64encode(_derived(key, "seal"))) for key in keys])
        self._fingerprint_key = _derived(keys[0], "fingerprint")

    @classmethod
    def of(cls, settings: Settings) -> "Sealer":
        """The deployment's own; makes its key file where there is none."""
        if settings.secret_key is not None:
            return cls([key.strip() for key in settings.secret_key.get_secret_value().split(",")])
        return cls([_key_of_file(settings.data_dir / KEY_FILE)])

    def seal(self, content: bytes) -> bytes:
        """Encrypt and sign."""
        return self._boxes.encrypt(content)

    def open(self, sealed: bytes) -> bytes:
        """What was sealed; SealBrokenError where it was not sealed with one of our keys."""
        try:
            return self._boxes.decrypt(sealed)
        except InvalidToken:
            raise SealBrokenError("sealed with another ROLLCALL_SECRET_KEY, or damaged") from None

    def fingerprint(self, content: str) -> str:
        """64 hexadecimal digits that only holders of the key can compute: for finding what must not be readable."""
        return hmac.new(self._fingerprint_key, content.encode(), hashlib.sha256).hexdigest()


def _derived(key: str, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"rollcall {purpose}".encode()).derive(key.encode())


def _key_of_file(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    made.touch(mode=0o600)
    made.write_text(secrets.token_urlsafe(32) + "\n")
    try:
        os.link(made, path)  # unlike a rename it fails where another process was first
    except FileExistsError:
        pass
    finally:
        made.unlink()
    return path.read_text().strip()

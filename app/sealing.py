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

from app.settings import SHORTEST_KEY, Settings

KEY_FILE: Final = "secret.key"


class SealBrokenError(ValueError):
    """What was to be opened was sealed with another key, or is damaged."""


class Sealer:
    """Seals and opens bytes; makes keyed fingerprints. Safe to share between threads."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._boxes = MultiFernet([Fernet(base64.urlsafe_b64encode(_derived(key, "seal"))) for key in keys])
        self._fingerprint_keys = [_derived(key, "fingerprint") for key in keys]

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
        return self.fingerprints(content)[0]

    def fingerprints(self, content: str) -> list[str]:
        """The fingerprint to be stored, and those that may be stored since an earlier key came first."""
        return [hmac.new(key, content.encode(), hashlib.sha256).hexdigest() for key in self._fingerprint_keys]


def _derived(key: str, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"rollcall {purpose}".encode()).derive(key.encode())


def _key_of_file(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_key_file(path)
    key = path.read_text().strip()
    if len(key) < SHORTEST_KEY:
        raise SealBrokenError(f"{path} holds no key: put it back from a backup, or delete it to begin with a new one")
    return key


def _make_key_file(path: Path) -> None:
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    aside.touch(mode=0o600)
    try:
        with aside.open("w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())  # what is sealed with it must not outlive it in a power cut
        os.link(aside, path)  # unlike a rename it fails where another process was first
        _sync_folder(path.parent)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

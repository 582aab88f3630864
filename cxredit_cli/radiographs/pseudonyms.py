"""Names in place of names: the same for the same patient, and of no use without a secret.

A bare hash of a patient's id can be looked up by hashing all ids there are; a keyed one (HMAC, RFC 2104) cannot.
"""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cxredit_cli.errors import InputError

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Pseudonyms by one secret."""

    key: bytes

    def name(self, kind: str, value: str) -> str:
        """12 letters and digits that stand for `value`."""
        return self._digest(kind, value).hex()[:12].upper()

    def uid(self, kind: str, value: str) -> str:
        """A DICOM UID that stands for `value` (PS3.5 B.2: 2.25 and a number of 128 bits)."""
        return f"2.25.{int.from_bytes(self._digest(kind, value)[:16], 'big')}"

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.new(self.key, f"{kind}\0{value}".encode(), hashlib.sha256).digest()


def load_pseudonyms(path: Path) -> Pseudonyms:
    """The pseudonyms of the secret in `path`, which is made, readable by its owner alone, where it is missing.

    Raises InputError where the file holds something else.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
        with suppress(FileExistsError):  # another process was first, and its secret counts
            os.link(aside, path)
        aside.unlink()
    try:
        key = bytes.fromhex(path.read_text().strip())
    except (ValueError, UnicodeDecodeError):
        key = b""
    if len(key) != KEY_BYTES:
        raise InputError(f"{path} should hold the secret of pseudonyms, {2 * KEY_BYTES} hex digits; move it away.")
    return Pseudonyms(key)

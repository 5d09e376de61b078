"""The key that cosigns the root log with ML-DSA-44 (FIPS 204): a file of the keyring, 32 bytes.

Beside Ed25519, never in its place: what was signed today still holds once a quantum computer can
forge Ed25519. It stays in the keyring whatever place holds the keys of copies.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from broker.errors import Conflict, SettingsError
from broker.keys import KeyUnavailable
from broker.keys.files import answering, find_file, write_file

_SEED_BYTES = 32


class MlDsaKey:
    """Implements `broker.audit.witnessing.Cosigner`."""

    def __init__(self, keyring: Path) -> None:
        """Raises SettingsError where it was never made, KeyUnavailable."""
        self._path = _file(keyring)
        with answering():
            found = find_file(self._path)
        if found is None:
            raise SettingsError(
                "log.ml_dsa is set and the keyring has no such key; run: broker keyring ml-dsa"
            )

    @classmethod
    def create(cls, keyring: Path) -> MlDsaKey:
        """Raises Conflict when it is there, KeyUnavailable."""
        path = _file(keyring)
        with answering():
            if find_file(path) is not None:
                raise Conflict("the keyring has this key already; it is never overwritten")
            write_file(path, secrets.token_bytes(_SEED_BYTES))
        return cls(keyring)

    def public(self) -> bytes:
        """1,312 bytes."""
        return self._private().public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """2,420 bytes."""
        return self._private().sign(message)

    def _private(self) -> MLDSA44PrivateKey:
        with answering():
            seed = find_file(self._path)
        if seed is None or len(seed) != _SEED_BYTES:
            raise KeyUnavailable(f"{self._path} is missing or damaged")
        return MLDSA44PrivateKey.from_seed_bytes(seed)


def _file(keyring: Path) -> Path:
    return keyring / "signing" / "root-ml-dsa-44.key"

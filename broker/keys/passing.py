"""Passing an answer from one process to one reader in another, through a place that keeps things.

HPKE (RFC 9180, base mode, the suite of `intake`): the reader makes a key for one answer, in memory;
who answers seals to it. What lies in between, and in every backup of it, is unreadable from the
moment at which the reader is done. The answer is bound to the question (`context`).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from broker.errors import VerificationFailed

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class Reader:
    """Opens one answer. Its private key is never written anywhere."""

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()

    @property
    def public(self) -> bytes:
        return self._private.public_key().public_bytes_raw()

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Raises VerificationFailed when it was changed, or is the answer to something else."""
        try:
            return bytes(_SUITE.decrypt(sealed, self._private, context))
        except (InvalidTag, ValueError):
            raise VerificationFailed("the answer does not open for who asked") from None


def seal(public: bytes, answer: bytes, context: bytes) -> bytes:
    """Raises ValueError when `public` is no key."""
    key = X25519PublicKey.from_public_bytes(public)
    return bytes(_SUITE.encrypt(answer, key, context))

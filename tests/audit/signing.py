"""Keys for these tests: real Ed25519 keys, made where they are used."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.audit.note import Checkpoint, VerifierKey, checkpoint_text, sign_note


@dataclass(frozen=True)
class SigningKey:
    name: str
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes_raw()

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.public)

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)

    def checkpoint(self, size: int, root: bytes, origin: str | None = None) -> str:
        text = checkpoint_text(Checkpoint(origin or self.name, size, root))
        return sign_note(text, self.name, self.public, self.sign)

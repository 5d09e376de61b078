"""Cosignatures: how a witness says that a log only grew (C2SP tlog-cosignature). Pure.

A witness signs a checkpoint once it has seen, by a proof, that it continues the last one that it
signed for that log. So two faces of a log can't both be cosigned. Ed25519 alone (algorithm 0x04).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from broker.audit.note import Sign, list_signatures
from broker.entries import decode_base64, encode_base64
from broker.errors import VerificationFailed

_ALGORITHM = b"\4"
_BLOB_BYTES = 4 + 8 + 64  # key id, seconds since 1970, signature
MAX_PROOF_LINES = 63


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A witness's name and its 32-byte key; it cosigns and signs nothing else."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Read `<name>+<key id>+<base64>`. Raises VerificationFailed."""
        name, identity, encoded = (*text.split("+", 2), "", "")[:3]  # base64 has + too
        blob = decode_base64(encoded, 33)
        key = cls(name, blob[1:])
        named = name.isprintable() and name and " " not in name
        if blob[:1] != _ALGORITHM or not named or key.id.hex() != identity:
            raise VerificationFailed("this is no key of a witness: <name>+<key id>+<base64>")
        return key

    @property
    def id(self) -> bytes:
        """4 bytes."""
        encoded = self.name.encode() + b"\n" + _ALGORITHM + self.public
        return hashlib.sha256(encoded).digest()[:4]

    def format(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode_base64(_ALGORITHM + self.public)}"


def cosign(text: str, key: WitnessKey, at_s: int, sign: Sign) -> str:
    """The witness's line under a checkpoint's text."""
    blob = key.id + at_s.to_bytes(8, "big") + sign(_message(text, at_s))
    return f"— {key.name} {encode_base64(blob)}\n"


def verify_cosignature(note: str, key: WitnessKey) -> int:
    """When this witness cosigned the note, in seconds since 1970. Raises VerificationFailed."""
    text, signatures = list_signatures(note)
    for name, blob in signatures:
        if name == key.name and blob[:4] == key.id:
            if len(blob) != _BLOB_BYTES:
                raise VerificationFailed(f"the cosignature by {name} is malformed")
            at_s = int.from_bytes(blob[4:12], "big")
            try:
                public = Ed25519PublicKey.from_public_bytes(key.public)
                public.verify(blob[12:], _message(text, at_s))
            except InvalidSignature:
                raise VerificationFailed(f"the cosignature by {name} does not hold") from None
            return at_s
    raise VerificationFailed(f"{key.name} has not cosigned it")


def _message(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()


def write_request(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """What is sent to a witness's add-checkpoint."""
    lines = [f"old {old}", *(encode_base64(item) for item in proof), ""]
    return ("\n".join(lines) + "\n" + note).encode()

"""Cosignatures: how a witness says that a log only grew (C2SP tlog-cosignature). Pure.

A witness signs a checkpoint once it has seen, by a proof, that it continues the last one that it
signed for that log. So two faces of a log can't both be cosigned. Ed25519 (algorithm 0x04), and
ML-DSA-44 (0x06, FIPS 204), which holds against quantum computers too and names its cosigner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from broker.audit.note import Sign, list_signatures, parse_checkpoint
from broker.entries import decode_base64, encode_base64
from broker.errors import VerificationFailed

_ED25519, _ML_DSA_44 = b"\4", b"\6"
_PUBLIC_BYTES = {_ED25519: 32, _ML_DSA_44: 1312}
_SIGNATURE_BYTES = {_ED25519: 64, _ML_DSA_44: 2420}
_HEAD_BYTES = 4 + 8  # key id, seconds since 1970; then the signature
MAX_PROOF_LINES = 63


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A witness's name and its key, of 32 bytes (Ed25519) or 1,312 (ML-DSA-44); it cosigns and
    signs nothing else.
    """

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Read `<name>+<key id>+<base64>`. Raises VerificationFailed."""
        name, identity, encoded = (*text.split("+", 2), "", "")[:3]  # base64 has + too
        blob = decode_base64(encoded)
        key = cls(name, blob[1:])
        named = name.isprintable() and name and " " not in name
        sized = _PUBLIC_BYTES.get(blob[:1]) == len(key.public)
        if not sized or not named or key.id.hex() != identity:
            raise VerificationFailed("this is no key of a witness: <name>+<key id>+<base64>")
        return key

    @property
    def algorithm(self) -> bytes:
        return _ED25519 if len(self.public) == _PUBLIC_BYTES[_ED25519] else _ML_DSA_44

    @property
    def id(self) -> bytes:
        """4 bytes."""
        encoded = self.name.encode() + b"\n" + self.algorithm + self.public
        return hashlib.sha256(encoded).digest()[:4]

    def format(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode_base64(self.algorithm + self.public)}"

    def fingerprint(self) -> str:
        """SHA-256 of `format()`, hexadecimal, to be compared through another channel."""
        return hashlib.sha256(self.format().encode()).hexdigest()

    def check(self, signature: bytes, message: bytes) -> None:
        """Raises InvalidSignature."""
        if self.algorithm == _ED25519:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        else:
            MLDSA44PublicKey.from_public_bytes(self.public).verify(signature, message)


def cosign(text: str, key: WitnessKey, at_s: int, sign: Sign) -> str:
    """The witness's line under a checkpoint's text."""
    blob = key.id + at_s.to_bytes(8, "big") + sign(_message(text, key, at_s))
    return f"— {key.name} {encode_base64(blob)}\n"


def verify_cosignature(note: str, key: WitnessKey) -> int:
    """When this witness cosigned the note, in seconds since 1970. Raises VerificationFailed."""
    text, signatures = list_signatures(note)
    for name, blob in signatures:
        if name == key.name and blob[:4] == key.id:
            if len(blob) != _HEAD_BYTES + _SIGNATURE_BYTES[key.algorithm]:
                raise VerificationFailed(f"the cosignature by {name} is malformed")
            at_s = int.from_bytes(blob[4:12], "big")
            try:
                key.check(blob[_HEAD_BYTES:], _message(text, key, at_s))
            except InvalidSignature:
                raise VerificationFailed(f"the cosignature by {name} does not hold") from None
            return at_s
    raise VerificationFailed(f"{key.name} has not cosigned it")


def _message(text: str, key: WitnessKey, at_s: int) -> bytes:
    """The whole text (Ed25519); or cosigner, instant, log, the tree from 0 to its size, root."""
    if key.algorithm == _ED25519:
        return f"cosignature/v1\ntime {at_s}\n{text}".encode()
    checkpoint = parse_checkpoint(text)
    numbers = (0).to_bytes(8, "big") + checkpoint.size.to_bytes(8, "big")
    cosigner, origin = _sized(key.name), _sized(checkpoint.origin)
    head = b"subtree/v1\n\0" + cosigner + at_s.to_bytes(8, "big") + origin
    return head + numbers + checkpoint.root


def _sized(name: str) -> bytes:
    encoded = name.encode()
    if len(encoded) > 255:
        raise VerificationFailed("a name of more than 255 bytes can't be cosigned")
    return bytes([len(encoded)]) + encoded


def write_request(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """What is sent to a witness's add-checkpoint."""
    lines = [f"old {old}", *(encode_base64(item) for item in proof), ""]
    return ("\n".join(lines) + "\n" + note).encode()

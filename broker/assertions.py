"""A passkey's assertion over a decision, as it is kept beside it and checked offline (G10).

The challenge that a person's authenticator signs is no random number: it is the digest of what the
person decides. So who holds the assertion and the person's public key needs nobody's word that the
decision was made, and nobody, the vendor neither, can make one up. Source of the format: WebAuthn
Level 3, sections 6.1 (authenticator data), 5.8.1 (client data) and 7.2 (what is checked).

What must stay true: the digest covers who decides, for whom, what about which plan, and the
decision's own random id, so that no assertion fits two decisions. Keys and signatures only, no
name (G13).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from broker.entries import Json, canonical, decode_base64, encode_base64, get_text
from broker.errors import VerificationFailed

# Parts of a decision's statement that the person signs; the rest is what came of it.
_SIGNED: tuple[str, ...] = ("log", "tenant", "decision", "grant", "ticket", "database", "verdict")
_SIGNED += ("asked", "policy", "shown", "gives")
_CONTEXT = b"broker/decision/v1\x00"
_PRESENT, _VERIFIED = 0x01, 0x04  # flags: the user touched it; it knew the user by PIN or body
_LEAST_BYTES = 37  # digest of the domain, flags, counter
_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class Assertion:
    """`public_key` is DER (SubjectPublicKeyInfo); `domain` is the WebAuthn relying party's id."""

    public_key: bytes
    domain: str
    authenticator_data: bytes
    client_data: bytes
    signature: bytes

    def document(self) -> dict[str, Json]:
        return {
            "key": encode_base64(self.public_key),
            "domain": self.domain,
            "authenticator_data": encode_base64(self.authenticator_data),
            "client_data": encode_base64(self.client_data),
            "signature": encode_base64(self.signature),
        }

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.public_key)


def fingerprint(public_key: bytes) -> str:
    """By which a log, a page and a verifier name a passkey: SHA-256 of its DER, hexadecimal."""
    return hashlib.sha256(public_key).hexdigest()


def parse_assertion(document: Json) -> Assertion:
    """Raises VerificationFailed."""
    names = {"key", "domain", "authenticator_data", "client_data", "signature"}
    if not isinstance(document, dict) or set(document) != names:
        raise VerificationFailed("this is no assertion of a passkey")
    return Assertion(
        decode_base64(get_text(document, "key")),
        get_text(document, "domain"),
        decode_base64(get_text(document, "authenticator_data")),
        decode_base64(get_text(document, "client_data")),
        decode_base64(get_text(document, "signature")),
    )


def challenge_of(statement: Mapping[str, Json]) -> bytes:
    """What the person's passkey signs of a decision's statement: 32 bytes."""
    by = statement.get("by")
    if not isinstance(by, dict):
        raise VerificationFailed("the statement does not say who decided")
    signed = {name: statement.get(name) for name in _SIGNED}
    document = {"v": 1, "type": "decision", "by": by.get("id"), "for": by.get("for"), **signed}
    return hashlib.sha256(_CONTEXT + canonical(document, max_bytes=None)).digest()


def check_assertion(assertion: Assertion, challenge: bytes) -> None:
    """The key's owner, verified by the authenticator, signed this challenge for this domain.

    Raises VerificationFailed. Counters are the broker's business: a verifier has seen no others.
    """
    try:
        said = json.loads(assertion.client_data.decode())
    except (ValueError, RecursionError):
        raise VerificationFailed("the passkey's client data is no JSON") from None
    if not isinstance(said, dict) or said.get("type") != "webauthn.get":
        raise VerificationFailed("the passkey was not asked for an assertion")
    if said.get("challenge") != _base64url(challenge) or said.get("crossOrigin", False):
        raise VerificationFailed("the passkey signed something else")
    told = assertion.authenticator_data
    if len(told) < _LEAST_BYTES or told[:32] != hashlib.sha256(assertion.domain.encode()).digest():
        raise VerificationFailed("the passkey was used for another domain")
    if not (told[32] & _PRESENT and told[32] & _VERIFIED):
        raise VerificationFailed("the authenticator did not verify who used it")
    _check_signature(assertion, told + hashlib.sha256(assertion.client_data).digest())


def _check_signature(assertion: Assertion, message: bytes) -> None:
    """The algorithm follows from the key alone: no field can choose another."""
    try:
        match load_der_public_key(assertion.public_key):
            case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()) as key:
                key.verify(assertion.signature, message, ec.ECDSA(SHA256()))
            case ed25519.Ed25519PublicKey() as key:
                key.verify(assertion.signature, message)
            case rsa.RSAPublicKey() as key if key.key_size >= _RSA_BITS:
                key.verify(assertion.signature, message, padding.PKCS1v15(), SHA256())
            case _:
                raise VerificationFailed("a passkey has a P-256, Ed25519 or RSA key")
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise VerificationFailed("the passkey's signature does not hold") from None


def _base64url(data: bytes) -> str:
    return encode_base64(data).translate(str.maketrans("+/", "-_", "="))

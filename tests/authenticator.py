"""An authenticator in software: real keys and real bytes, as a browser hands them on."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, encode_cbor

ORIGIN = "https://broker.example"  # the default of `web.public_url`
PRESENT, VERIFIED, WITH_KEY = 0x01, 0x04, 0x40


@dataclass
class Authenticator:
    """One passkey. Its fields are as a person's device has them; a test bends them to cheat."""

    private: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    counter: int = 0
    flags: int = PRESENT | VERIFIED
    origin: str = ORIGIN
    domain: str = "broker.example"
    user: bytes = b""

    def create(self, options: Mapping[str, Any]) -> str:
        self.user = base64url_to_bytes(options["user"]["id"])
        attested = bytes(16) + len(self.credential_id).to_bytes(2) + self.credential_id
        told = self._told(WITH_KEY) + attested + encode_cbor(self._cose())
        attestation = encode_cbor({"fmt": "none", "attStmt": {}, "authData": told})
        response = {
            "clientDataJSON": _text(self._client_data("webauthn.create", options)),
            "attestationObject": _text(attestation),
        }
        return self._credential(response)

    def get(self, options: Mapping[str, Any]) -> str:
        self.counter += 1
        told, client_data = self._told(), self._client_data("webauthn.get", options)
        message = told + hashlib.sha256(client_data).digest()
        response = {
            "clientDataJSON": _text(client_data),
            "authenticatorData": _text(told),
            "signature": _text(self.private.sign(message, ec.ECDSA(SHA256()))),
            "userHandle": _text(self.user),
        }
        return self._credential(response)

    def _credential(self, response: Mapping[str, str]) -> str:
        name = _text(self.credential_id)
        kind = {"type": "public-key", "clientExtensionResults": {}}
        return json.dumps({"id": name, "rawId": name, "response": response, **kind})

    def _client_data(self, kind: str, options: Mapping[str, Any]) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin}
        return json.dumps({**said, "crossOrigin": False}).encode()

    def _told(self, more: int = 0) -> bytes:
        domain = hashlib.sha256(self.domain.encode()).digest()
        return domain + bytes([self.flags | more]) + self.counter.to_bytes(4)

    def _cose(self) -> dict[int, object]:
        """RFC 9053: an EC2 key for ES256 on P-256."""
        numbers = self.private.public_key().public_numbers()
        return {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}


def _text(data: bytes) -> str:
    return bytes_to_base64url(data)

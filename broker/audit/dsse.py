"""Signed statements in DSSE envelopes (secure-systems-lab/dsse, v1.0.2), one Ed25519 signature.

The signature covers the payload's exact bytes and its type, so nothing has to be parsed before it
is verified. Stricter than DSSE asks: the envelope too has one form, with one signature and a key
hint that must fit the key that verified, so that no byte can change unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.audit.note import Sign, VerifierKey
from broker.entries import Json, canonical, decode_base64, encode_base64, get_text, parse_canonical
from broker.errors import Invalid, VerificationFailed

MAX_PAYLOAD_BYTES = 1024 * 1024
_MAX_ENVELOPE_BYTES = 2 * MAX_PAYLOAD_BYTES  # base64 adds a third


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """What is signed (DSSE's PAE): type and payload, each with its length in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload_type: str, payload: bytes, key_name: str, public: bytes, sign: Sign) -> bytes:
    """The envelope as canonical JSON. Raises Invalid, or VerificationFailed if `sign` holds
    another key than `public`.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Invalid(f"a statement has {MAX_PAYLOAD_BYTES} bytes at most")
    key = VerifierKey(key_name, public)
    signature = key.checked_signature(pre_authentication_encoding(payload_type, payload), sign)
    return _envelope(payload_type, payload, key.hint, signature)


def open_envelope(data: bytes, payload_type: str, keys: Sequence[VerifierKey]) -> bytes:
    """The payload, once one of `keys` is seen to have signed it. Raises VerificationFailed."""
    envelope = parse_canonical(data, max_bytes=_MAX_ENVELOPE_BYTES)
    payload = decode_base64(get_text(envelope, "payload"))
    keyid, signature = _single_signature(envelope)
    # The hint chooses the key; the signature and the comparison below decide.
    key = next((key for key in keys if key.hint == keyid), None)
    if key is None:
        raise VerificationFailed("no given key has signed this statement")
    key.verify(signature, pre_authentication_encoding(payload_type, payload))
    if _envelope(payload_type, payload, key.hint, signature) != data:
        raise VerificationFailed("this envelope is not in the one form that we write")
    return payload


def _single_signature(envelope: dict[str, Json]) -> tuple[str, bytes]:
    match envelope.get("signatures"):
        case [{"keyid": str(keyid), "sig": str(signature)}]:
            return keyid, decode_base64(signature)
        case _:
            raise VerificationFailed("an envelope of ours has one signature")


def _envelope(payload_type: str, payload: bytes, keyid: str, signature: bytes) -> bytes:
    envelope = {
        "payload": encode_base64(payload),
        "payloadType": payload_type,
        "signatures": [{"keyid": keyid, "sig": encode_base64(signature)}],
    }
    return canonical(envelope, max_bytes=_MAX_ENVELOPE_BYTES)

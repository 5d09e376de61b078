"""Signed statements: the exact bytes, the type, one form."""

from __future__ import annotations

import json

import pytest

from broker.audit.dsse import (
    MAX_PAYLOAD_BYTES,
    open_envelope,
    pre_authentication_encoding,
    seal,
)
from broker.entries import canonical
from broker.errors import Invalid, VerificationFailed
from tests.audit.signing import SigningKey

TYPE = "application/vnd.example+json"
KEY = SigningKey("broker.example/statements")
OTHER = SigningKey("broker.example/statements")
PAYLOAD = b'{"a":1}'
ENVELOPE = seal(TYPE, PAYLOAD, KEY.name, KEY.public, KEY.sign)


def test_what_is_signed_is_the_encoding_of_the_specification() -> None:
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication_encoding("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_a_sealed_statement_opens_with_its_key_and_type_alone() -> None:
    assert open_envelope(ENVELOPE, TYPE, [OTHER.verifier, KEY.verifier]) == PAYLOAD
    for payload_type, keys in [
        (TYPE, [OTHER.verifier]),
        (TYPE, []),
        ("text/plain", [KEY.verifier]),
    ]:
        with pytest.raises(VerificationFailed):
            open_envelope(ENVELOPE, payload_type, keys)


def test_every_changed_byte_of_an_envelope_is_refused() -> None:
    for place in range(len(ENVELOPE)):
        for bit in (1, 0x20, 0x80):
            changed = bytearray(ENVELOPE)
            changed[place] ^= bit
            with pytest.raises(VerificationFailed):
                open_envelope(bytes(changed), TYPE, [KEY.verifier])


def test_the_payload_is_not_parsed_before_it_is_verified() -> None:
    """Bytes that are no JSON at all come out as they went in."""
    data = seal(TYPE, b"\xff{not json", KEY.name, KEY.public, KEY.sign)
    assert open_envelope(data, TYPE, [KEY.verifier]) == b"\xff{not json"


def test_an_envelope_of_another_form_is_refused() -> None:
    envelope = json.loads(ENVELOPE)
    signature = envelope["signatures"][0]
    for changed in (
        envelope | {"signatures": []},
        envelope | {"signatures": [signature, signature]},
        envelope | {"signatures": [signature | {"more": 1}]},
        envelope | {"signatures": [{"sig": signature["sig"]}]},
        envelope | {"signatures": signature},
        envelope | {"more": 1},
        envelope | {"payloadType": "text/plain"},
        envelope | {"payload": 1},
        {"payload": envelope["payload"]},
    ):
        with pytest.raises(VerificationFailed):
            open_envelope(canonical(changed), TYPE, [KEY.verifier])
    with pytest.raises(VerificationFailed):
        open_envelope(json.dumps(envelope).encode(), TYPE, [KEY.verifier])


def test_a_signer_that_holds_another_key_is_noticed_when_it_signs() -> None:
    with pytest.raises(VerificationFailed):
        seal(TYPE, PAYLOAD, KEY.name, KEY.public, OTHER.sign)


def test_a_statement_without_end_is_not_signed() -> None:
    with pytest.raises(Invalid):
        seal(TYPE, bytes(MAX_PAYLOAD_BYTES + 1), KEY.name, KEY.public, KEY.sign)

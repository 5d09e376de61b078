"""Passkeys over decisions, offline: two verifiers, written apart, come to one verdict (G10)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

from broker.assertions import Assertion, challenge_of
from broker.audit import dsse
from broker.audit.statements import DECISION, TYPES, verify_signed
from broker.entries import canonical
from broker.ids import new_id
from tests.audit.signing import SigningKey
from tests.authenticator import PRESENT, Authenticator
from tests.verify.standalone import of_decisions, standalone

ORIGIN = "vendor.test/log/abc"
Said = dict[str, Any]


def decided() -> Said:
    windows = {"live_s": 600, "copy_s": 0, "starts": None}
    return {
        "v": 1,
        "type": "decision",
        "log": ORIGIN,
        "tenant": new_id("tnt"),
        "decision": new_id("dec"),
        "grant": new_id("grt"),
        "ticket": new_id("tkt"),
        "database": new_id("dbs"),
        "verdict": "approved",
        "settles": True,
        "by": {"id": new_id("psn"), "side": "tenant", "via": "passkey", "for": stood_in()},
        "asked": {"by": new_id("psn"), "plan": "a" * 64, **windows, "extends": None},
        "policy": {"version": 0, "approvals": 1},
        "shown": "a" * 64,
        "gives": {"plan": "b" * 64, **windows},
    }


def stood_in() -> Said:
    """The person is an admin's delegate."""
    return {"id": new_id("psn"), "delegation": new_id("dlg"), "until": "2026-11-30T00:00:00Z"}


def signed_by(device: Authenticator, said: Said) -> Said:
    """The statement with what the passkey signed of it."""
    challenge = bytes_to_base64url(challenge_of(said))
    response = json.loads(device.get({"challenge": challenge}))["response"]
    parts = [response[name] for name in ("authenticatorData", "clientDataJSON", "signature")]
    assertion = Assertion(public(device), device.domain, *map(base64url_to_bytes, parts))
    return {**said, "passkey": assertion.document()}


def public(device: Authenticator) -> bytes:
    form = PublicFormat.SubjectPublicKeyInfo
    return device.private.public_key().public_bytes(Encoding.DER, form)


def verdict(said: Said, passkeys: tuple[str, ...] = ()) -> bool:
    """Of both, which must be one; the vendor signs whatever it is told to."""
    vendor = SigningKey("vendor.test/statements")
    payload = canonical(said, max_bytes=None)
    envelope = dsse.seal(TYPES[DECISION], payload, vendor.name, vendor.public, vendor.sign)
    ours = verify_signed(envelope, [vendor.verifier], passkeys)
    key = standalone.read_key(vendor.verifier.format())
    theirs = of_decisions.verify_decision(envelope, [key], passkeys)
    assert ours.ok is theirs.ok, (ours.findings, theirs.findings)
    return ours.ok


def fingerprint(said: Said) -> str:
    return Assertion(standalone.bytes_of(said["passkey"]["key"]), "", b"", b"", b"").fingerprint


def test_a_decision_by_passkey_holds_and_names_it() -> None:
    said = signed_by(Authenticator(), decided())
    assert verdict(said)
    assert verdict(said, (fingerprint(said),))
    assert not verdict(said, ("0" * 64,))


def test_without_one_it_is_the_vendors_word_and_no_more() -> None:
    assert verdict(decided())
    assert not verdict(decided(), ("0" * 64,))


CHANGES: dict[str, Callable[[Said], Any]] = {
    "a longer window": lambda said: said["gives"].update(live_s=86400),
    "another plan": lambda said: said["gives"].update(plan="c" * 64),
    "another plan shown": lambda said: said.update(shown="c" * 64),
    "another grant": lambda said: said.update(grant=new_id("grt")),
    "another decision": lambda said: said.update(decision=new_id("dec")),
    "another person": lambda said: said["by"].update(id=new_id("psn")),
    "for another admin": lambda said: said["by"].update({"for": stood_in()}),
    "for nobody else": lambda said: said["by"].update({"for": None}),
    "a later end of the delegation": lambda said: said["by"]["for"].update(until="2027"),
    "another tenant": lambda said: said.update(tenant=new_id("tnt")),
    "another database": lambda said: said.update(database=new_id("dbs")),
    "another ticket": lambda said: said.update(ticket=new_id("tkt")),
    "another requester": lambda said: said["asked"].update(by=new_id("psn")),
    "fewer approvals": lambda said: said["policy"].update(approvals=0),
    "the other verdict": lambda said: said.update(verdict="refused"),
    "another domain": lambda said: said["passkey"].update(domain="evil.example"),
    "another key": lambda said: said["passkey"].update(
        key=signed_by(Authenticator(), decided())["passkey"]["key"]
    ),
    "a signature of another key": lambda said: said["passkey"].update(
        signature=signed_by(Authenticator(), said)["passkey"]["signature"]
    ),
    "no key": lambda said: said["passkey"].update(key=""),
    "a part too many": lambda said: said["passkey"].update(note="x"),
    "a part too few": lambda said: said["passkey"].pop("signature"),
    "no object": lambda said: said.update(passkey="yes"),
    "null": lambda said: said.update(passkey=None),
    "no person": lambda said: said.update(by=None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_vendor_can_sign_no_change_that_the_person_did_not(change: str) -> None:
    """An approval can't be invented: the vendor's own key is not enough."""
    said = signed_by(Authenticator(), decided())
    mine = fingerprint(said)
    CHANGES[change](said)
    assert not verdict(said, (mine,))
    assert not verdict(said)  # nor does it pass for one without a passkey


def test_an_authenticator_that_verified_nobody_does_not_count() -> None:
    assert not verdict(signed_by(Authenticator(flags=PRESENT), decided()))


def test_what_came_of_it_is_not_the_persons_to_sign() -> None:
    """Whether it was the last approval needed is known only once it is kept."""
    said = signed_by(Authenticator(), decided()) | {"settles": False}
    assert verdict(said)

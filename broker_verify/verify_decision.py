"""Check one signed decision of a support-access broker offline: who decided, by whose key.

    python verify_decision.py DECISION --key KEYFILE [--passkey FINGERPRINT]...

The vendor's key says what was decided. Where a person decided with a passkey, the statement also
holds what the passkey signed: the digest of just this decision, as a WebAuthn challenge. That can't
be made without the person's device, by the vendor neither. With `--passkey`, a fingerprint that you
had from the person herself, a decision passes only if that passkey signed it; without, the output
says which one did, or that the vendor alone attests it. Exit codes are those of `broker_verify`,
whose parts this file stands on. Source: WebAuthn Level 3, sections 5.8.1, 6.1 and 7.2.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

if TYPE_CHECKING:  # a checker sees the folder as a package, Python the two files side by side
    from broker_verify import broker_verify as base
else:
    import broker_verify as base

DECISION_TYPE = "application/vnd.support-access-broker.decision+json"
_SIGNED = frozenset(
    [
        "asked",
        "database",
        "decision",
        "gives",
        "grant",
        "log",
        "policy",
        "shown",
        "tenant",
        "ticket",
        "verdict",
    ]
)
_PARTS = ("key", "domain", "authenticator_data", "client_data", "signature")
_MAX_BYTES = 1024 * 1024


def open_decision(data: bytes, keys: Sequence[base.Key]) -> dict[str, base.Json]:
    """What the statement says, the vendor's signature verified first. Raises Refused."""
    envelope = base.fields_of(
        base.read_json(data, 2 * _MAX_BYTES), ("payload", "payloadType", "signatures")
    )
    signatures = base.take(list, envelope["signatures"])
    if envelope["payloadType"] != DECISION_TYPE or len(signatures) != 1:
        raise base.Refused("it is no decision with one signature")
    signature = base.fields_of(signatures[0], ("keyid", "sig"))
    key = next((key for key in keys if key.hint == signature["keyid"]), None)
    if key is None:
        raise base.Refused("no key that counts has signed it")
    kind, payload = DECISION_TYPE.encode(), base.bytes_of(envelope["payload"])
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    key.check(base.bytes_of(signature["sig"]), message)
    statement = base.read_json(payload, _MAX_BYTES)
    if (statement.get("v"), statement.get("type")) != (1, "decision") or statement["v"] is True:
        raise base.Refused("it does not speak of a decision, in version 1")
    for name in ("decision", "grant", "verdict", "log"):
        base.a_name(statement.get(name))
    if key.name != base.statements_name(base.a_name(statement["log"])):
        raise base.Refused("its signer does not speak for that log")
    return statement


def challenge_of(statement: dict[str, base.Json]) -> bytes:
    """The digest of what a person decides: each part of it, in RFC 8785's order."""
    by = base.take(dict, statement.get("by"))
    parts: dict[str, base.Json] = {name: statement.get(name) for name in _SIGNED}
    parts |= {"by": by.get("id"), "for": by.get("for"), "type": "decision", "v": 1}
    whole = base.write({name: parts[name] for name in sorted(parts)}).encode()
    return hashlib.sha256(b"broker/decision/v1\x00" + whole).digest()


def check_passkey(passkey: base.Json, challenge: bytes) -> str:
    """The fingerprint of the passkey that signed `challenge`. Raises Refused."""
    given = base.fields_of(passkey, _PARTS)
    client_data = base.bytes_of(given["client_data"])
    told = base.bytes_of(given["authenticator_data"])
    try:
        said = base.take(dict, json.loads(client_data.decode()))
    except (ValueError, RecursionError):
        raise base.Refused("its client data is no JSON") from None
    spelled = challenge_text(challenge)
    if (said.get("type"), said.get("challenge")) != ("webauthn.get", spelled):
        raise base.Refused("it signed something else")
    domain = hashlib.sha256(base.a_name(given["domain"]).encode()).digest()
    if said.get("crossOrigin", False) or len(told) < 37 or told[:32] != domain:
        raise base.Refused("it was used for another domain")
    if not (told[32] & 1 and told[32] & 4):
        raise base.Refused("its device did not verify who used it")
    key, message = base.bytes_of(given["key"]), told + hashlib.sha256(client_data).digest()
    check_signature(key, base.bytes_of(given["signature"]), message)
    return hashlib.sha256(key).hexdigest()


def challenge_text(challenge: bytes) -> str:
    """Base64url without padding, as a browser writes it."""
    return base64.urlsafe_b64encode(challenge).decode().rstrip("=")


def check_signature(der: bytes, signature: bytes, message: bytes) -> None:
    """The kind of the key says by which algorithm, and nothing else does. Raises Refused."""
    try:
        key = load_der_public_key(der)
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            key.verify(signature, message, ec.ECDSA(SHA256()))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        elif isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
            key.verify(signature, message, padding.PKCS1v15(), SHA256())
        else:
            raise base.Refused("it has a kind of key that is not taken")
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise base.Refused("its signature does not hold") from None


def verify_decision(
    data: bytes, trusted: Sequence[base.Key], passkeys: Collection[str] = ()
) -> base.Report:
    report = base.Report()
    with report.naming("The decision"):
        said = open_decision(data, trusted)
        report.good(f"{said['decision']} on {said['grant']} is signed: {said['verdict']}.")
        with report.naming("Its passkey"):
            if "passkey" not in said:
                tell = report.bad if passkeys else report.good
                tell("It is attested by the vendor alone: no passkey of a person signed it.")
                return report
            found = check_passkey(said["passkey"], challenge_of(said))
            if passkeys and found not in passkeys:
                raise base.Refused(f"{found} is none of those you gave")
            report.good(f"Passkey {found} signed it.")
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("verify_decision", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="a signed decision, *.dsse.json")
    parser.add_argument("--key", type=Path, action="append", default=[], help="keys you trust")
    parser.add_argument("--passkey", action="append", default=[], help="fingerprints you trust")
    given = parser.parse_args(arguments)
    try:
        data = given.file.read_bytes()
        keys = [key for file in given.key for key in base.read_keys(file.read_text("utf-8"))]
    except (OSError, UnicodeDecodeError, base.Refused) as error:
        parser.error(str(error))
    report = verify_decision(data, keys, given.passkey)
    for good, text in report.findings:
        sys.stdout.write(f"{'ok ' if good else 'BAD'}  {text}\n")
    sys.stdout.write(f"{given.file} {'verifies' if report.ok else 'DOES NOT VERIFY'}.\n")
    return 0 if report.ok else 9


if __name__ == "__main__":
    sys.exit(main())

"""Revocations: the signed statement that a certificate was proved wrong, checked offline (G10)."""

from __future__ import annotations

from collections.abc import Sequence

from broker.audit.certified import statements_key_name
from broker.audit.dsse import MAX_PAYLOAD_BYTES, open_envelope
from broker.audit.findings import Finding, Report, Summary
from broker.audit.note import VerifierKey
from broker.entries import Json, get_name, is_version_1, parse_canonical
from broker.errors import VerificationFailed

REVOCATION_TYPE = "application/vnd.support-access-broker.revocation+json"
_IDS = ("certificate", "digest", "snapshot", "remnant", "log")


def verify_revocation(data: bytes, trusted: Sequence[VerifierKey]) -> Report:
    """Check one revocation by itself; `statement` is what it says."""
    for key in trusted:
        try:
            statement = _open(data, key)
        except VerificationFailed:
            continue
        origin = str(statement["log"])
        if key.name == statements_key_name(origin):  # one vendor's key speaks for its own logs only
            text = (
                f"Certificate {statement['certificate']} for copy {statement['snapshot']} is "
                f"revoked, signed by {key.hint}: {statement['remnant']} was found later."
            )
            summary = Summary(origin=origin)
            found = (Finding(ok=True, text=text),)
            return Report(found, authenticated=True, summary=summary, statement=statement)
    text = "No trusted key has signed this revocation, or it was changed since."
    return Report((Finding(ok=False, text=text),), authenticated=False)


def _open(data: bytes, key: VerifierKey) -> dict[str, Json]:
    payload = open_envelope(data, REVOCATION_TYPE, [key])
    statement = parse_canonical(payload, max_bytes=MAX_PAYLOAD_BYTES)
    if not is_version_1(statement) or statement.get("type") != "revocation":
        raise VerificationFailed("this is no revocation of version 1")
    for name in _IDS:
        get_name(statement, name)
    return statement

"""Statements of decisions and of ends of access, checked offline as certificates are (G10).

A statement holds ids, digests, windows, instants and words of ours: no name, address or free text,
so that erasing a person breaks no signature (G13).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from broker.assertions import challenge_of, check_assertion, parse_assertion
from broker.audit.certified import statements_key_name
from broker.audit.dsse import MAX_PAYLOAD_BYTES, open_envelope
from broker.audit.findings import Finding, Report, Summary
from broker.audit.note import VerifierKey
from broker.audit.promises import Promised
from broker.audit.revocation import REVOCATION_TYPE, verify_revocation
from broker.audit.verify import verify_certificate
from broker.entries import Json, get_name, is_version_1, parse_canonical
from broker.errors import Invalid, VerificationFailed

_VENDOR = "application/vnd.support-access-broker"
DECISION = "decision"
END_OF_ACCESS = "end_of_access"
DEPARTURE = "departure"
TYPES: Mapping[str, str] = {
    DECISION: f"{_VENDOR}.decision+json",
    END_OF_ACCESS: f"{_VENDOR}.end-of-access+json",
    DEPARTURE: f"{_VENDOR}.departure+json",
}
Verify = Callable[[bytes, Sequence[VerifierKey]], Report]


@dataclass(frozen=True, slots=True)
class _Form:
    """`ids` must be there; `says` makes the sentence of a statement that holds."""

    ids: tuple[str, ...]
    says: str


_FORMS: Mapping[str, _Form] = {
    DECISION: _Form(
        ("decision", "grant", "verdict", "log"),
        "Decision {decision} on {grant} is signed by {key}: {verdict}.",
    ),
    END_OF_ACCESS: _Form(
        ("lease", "grant", "log"),
        "The end of login {lease} under {grant} is signed by {key}.",
    ),
    DEPARTURE: _Form(
        ("departure", "tenant", "log"),
        "That the data of {tenant} was erased, after {departure}, is signed by {key}.",
    ),
}


def verify_signed(
    data: bytes, trusted: Sequence[VerifierKey], passkeys: Collection[str] = ()
) -> Report:
    """Check one signed statement of any kind: certificate, revocation, decision, end of access.

    `passkeys` are fingerprints that the reader got from their owners: with them, a decision that
    none of these passkeys signed does not pass.
    """
    try:
        told = parse_canonical(data, max_bytes=2 * MAX_PAYLOAD_BYTES).get("payloadType")
    except VerificationFailed:
        told = None
    for kind, payload_type in TYPES.items():
        if told == payload_type:
            return _verify(data, trusted, kind, passkeys)
    check: Verify = verify_revocation if told == REVOCATION_TYPE else verify_certificate
    return check(data, trusted)


def _verify(
    data: bytes, trusted: Sequence[VerifierKey], kind: str, passkeys: Collection[str]
) -> Report:
    for key in trusted:
        try:
            statement = open_statement(data, kind, key)
        except VerificationFailed:
            continue
        origin = str(statement["log"])
        if key.name == statements_key_name(origin):  # one vendor's key speaks for its own logs only
            form = _FORMS[kind]
            told = {name: statement[name] for name in form.ids}
            said = form.says.format(key=key.hint, **told) + _say_kind(statement)
            found = [Finding(ok=True, text=said)]
            if kind == DECISION:
                found.append(_check_person(statement, passkeys))
            summary = Summary(origin=origin)
            return Report(tuple(found), authenticated=True, summary=summary, statement=statement)
    text = "No trusted key has signed this statement, or it was changed since."
    return Report((Finding(ok=False, text=text),), authenticated=False)


KIND_WORDS: Mapping[str, str] = {
    "structure": "structure alone, no row",
    "masked": "rows through masks",
    "raw": "rows through masks, with named columns in clear",
}


def _say_kind(statement: Mapping[str, Json]) -> str:
    """What an approval shows; nothing where it gives nothing, or was signed before kinds."""
    gives = statement.get("gives")
    kind = gives.get("kind") if isinstance(gives, dict) else None
    words = KIND_WORDS.get(kind) if isinstance(kind, str) else None
    count = gives.get("tables_restricted") if isinstance(gives, dict) else None
    fewer = f"; of {count} tables only some rows" if isinstance(count, int) and count > 0 else ""
    return f" It gives {words}{fewer}." if words else ""


def _check_person(statement: Mapping[str, Json], passkeys: Collection[str]) -> Finding:
    """Whether a person's own key says what the vendor says that the person decided."""
    if "passkey" not in statement:
        text = "It is attested by the vendor alone: no passkey of a person signed it."
        return Finding(ok=not passkeys, text=text)
    try:
        assertion = parse_assertion(statement["passkey"])
        check_assertion(assertion, challenge_of(statement))
    except (VerificationFailed, Invalid) as error:
        return Finding(ok=False, text=f"Its passkey does not hold: {error.message}.")
    if not passkeys:
        text = f"Passkey {assertion.fingerprint} signed it; compare that with its owner's."
        return Finding(ok=True, text=text)
    known = assertion.fingerprint in passkeys
    which = "which you trust" if known else "which is none of those you gave"
    return Finding(ok=known, text=f"Passkey {assertion.fingerprint} signed it, {which}.")


def read_promise(data: bytes, trusted: Sequence[VerifierKey]) -> Promised:
    """What a signed decision promises of the log. Raises VerificationFailed."""
    for key in trusted:
        try:
            statement = open_statement(data, DECISION, key)
        except VerificationFailed:
            continue
        origin = get_name(statement, "log")
        if key.name != statements_key_name(origin):  # one vendor's key speaks for its own logs only
            continue
        at, promise = statement.get("at"), statement.get("promise")
        if not isinstance(at, dict) or not isinstance(promise, dict):
            raise VerificationFailed("this decision was signed by a release that promised nothing")
        return Promised(
            log=origin,
            decision=get_name(statement, "decision"),
            grant=get_name(statement, "grant"),
            digest=hashlib.sha256(data).hexdigest(),
            decided_at=_instant(get_name(at, "decided")),
            by=_instant(get_name(promise, "log_by")),
        )
    raise VerificationFailed("no trusted key has signed this decision, or it was changed since")


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise VerificationFailed("an instant of the statement is malformed") from None


def open_statement(data: bytes, kind: str, *keys: VerifierKey) -> dict[str, Json]:
    """What a statement says, once one of `keys` is seen to have signed it.

    Raises VerificationFailed.
    """
    payload = open_envelope(data, TYPES[kind], keys)
    statement = parse_canonical(payload, max_bytes=MAX_PAYLOAD_BYTES)
    if not is_version_1(statement) or statement.get("type") != kind:
        raise VerificationFailed(f"this is no statement of the kind {kind} in version 1")
    for name in _FORMS[kind].ids:
        get_name(statement, name)
    return statement

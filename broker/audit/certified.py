"""Certificates in a log: each stands in it and is signed, and each that stands in it is there; so
is the time that a third party put to it.

Fed the entries that speak of certificates, then the envelopes with their timestamps, in the order
of the bundle; then asked for what holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from broker.audit.dsse import MAX_PAYLOAD_BYTES, open_envelope
from broker.audit.findings import Finding
from broker.audit.note import VerifierKey
from broker.audit.stamped import Stamps
from broker.entries import Entry, Json, get_name, is_version_1, parse_canonical
from broker.errors import VerificationFailed

CERTIFICATE_TYPE = "application/vnd.support-access-broker.destruction+json"
CERTIFICATE_IDS = ("certificate", "snapshot", "log")


def statements_key_name(origin: str) -> str:
    """The name of the key that signs certificates for the log `origin`."""
    return f"{origin.partition('/')[0]}/statements"


def open_certificate(data: bytes, keys: Sequence[VerifierKey]) -> dict[str, Json]:
    """What a certificate says, its signature verified first. Raises VerificationFailed."""
    payload = open_envelope(data, CERTIFICATE_TYPE, keys)
    statement = parse_canonical(payload, max_bytes=MAX_PAYLOAD_BYTES)
    if not is_version_1(statement) or statement.get("type") != "destruction":
        raise VerificationFailed("this is no certificate of destruction of version 1")
    for name in CERTIFICATE_IDS:
        get_name(statement, name)
    return statement


@dataclass(slots=True)
class Certified:
    """Of the log `origin`; `held` are those that hold and were not revoked."""

    origin: str
    stamps: Stamps
    issued: dict[int, Entry] = field(default_factory=dict)
    stamped: dict[str, str] = field(default_factory=dict)  # by certificate, its timestamp's digest
    revoked: set[str] = field(default_factory=set)
    envelopes: list[bytes] = field(default_factory=list)
    responses: dict[bytes, bytes] = field(default_factory=dict)  # by envelope
    held: list[str] = field(default_factory=list)

    def note(self, index: int, entry: Entry) -> None:
        if entry.kind == "certificate.issued":
            self.issued[index] = entry
        elif entry.kind == "certificate.stamped":
            self.stamped[entry.subject] = str(entry.facts.get("digest"))
        elif entry.kind == "certificate.revoked":
            self.revoked.add(entry.subject)

    def check(self, keys: Sequence[VerifierKey], ended: Collection[str]) -> Iterator[Finding]:
        """`ended` are the copies that the log says were destroyed."""
        envelopes = {hashlib.sha256(data).hexdigest(): data for data in self.envelopes}
        if len(envelopes) != len(self.envelopes):
            yield Finding(ok=False, text="A certificate stands in the bundle twice.")
        names: list[str] = []
        for index, entry in self.issued.items():
            try:
                data = envelopes.pop(get_name(entry.facts, "digest"), None)
                certificate, snapshot = self._match(entry, data, keys)
            except VerificationFailed as error:
                text = f"The certificate of entry {index} does not hold: {error}."
                yield Finding(ok=False, text=text)
                continue
            if certificate in names:
                yield Finding(ok=False, text=f"Certificate {certificate} was issued twice.")
            if snapshot not in ended:
                text = f"Copy {snapshot} has a certificate, but no entry says it was destroyed."
                yield Finding(ok=False, text=text)
            since = ", and was revoked later" if certificate in self.revoked else ""
            text = f"Certificate {certificate} for copy {snapshot} is signed and in the log{since}."
            yield Finding(ok=True, text=text)
            yield from self._check_stamp(certificate, entry, data or b"")
            names.append(certificate)
        for digest in envelopes:
            text = f"The certificate with digest {digest} has no entry in the log."
            yield Finding(ok=False, text=text)
        self.held = [name for name in names if name not in self.revoked]

    def _match(
        self, entry: Entry, data: bytes | None, keys: Sequence[VerifierKey]
    ) -> tuple[str, str]:
        """The ids of the certificate and of its copy. Raises VerificationFailed."""
        if data is None:
            raise VerificationFailed("it is not in the bundle, or not with this digest")
        statement = open_certificate(data, keys)
        if statement["log"] != self.origin:
            raise VerificationFailed(f"it speaks of another log, {statement['log']}")
        for name in ("certificate", "snapshot"):
            if statement[name] != entry.facts.get(name):
                raise VerificationFailed(f"its {name} is not the one that the entry names")
        return get_name(statement, "certificate"), get_name(statement, "snapshot")

    def _check_stamp(self, certificate: str, entry: Entry, data: bytes) -> Iterator[Finding]:
        """The log names its timestamp by digest: none is swapped, invented or withheld."""
        response, logged = self.responses.get(data), self.stamped.get(certificate)
        digest = None if response is None else hashlib.sha256(response).hexdigest()
        if digest != logged:
            text = f"The timestamp of certificate {certificate} is not the one that the log names."
            yield Finding(ok=False, text=text)
        elif response is not None:
            yield self.stamps.check(f"Certificate {certificate}", response, data, since=entry.at)

"""A small log with everything a bundle can hold: two grants, two copies, one certificate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from broker.audit.bundle import Bundle, Opening, build_bundle
from broker.audit.certified import CERTIFICATE_TYPE
from broker.audit.dsse import seal
from broker.audit.merkle import leaf_hash, root
from broker.audit.note import VerifierKey
from broker.entries import EntryDraft, Json, build_entry, canonical
from tests.audit.signing import SigningKey

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ORIGIN = "broker.example/log/log_a"


@dataclass
class Log:
    """Grows like a tenant's log does; `bundle()` is its export."""

    origin: str = ORIGIN
    log_key: SigningKey = field(default_factory=lambda: SigningKey(ORIGIN))
    statements_key: SigningKey = field(
        default_factory=lambda: SigningKey("broker.example/statements")
    )
    entries: list[bytes] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    envelopes: list[bytes] = field(default_factory=list)

    @property
    def trusted(self) -> tuple[VerifierKey, ...]:
        return (self.log_key.verifier, self.statements_key.verifier)

    def record(
        self,
        kind: str,
        subject: str,
        minutes: float | None = None,
        facts: Mapping[str, Json] | None = None,
        side: str = "",
        who: str = "psn_a",
    ) -> None:
        side = side or ("tenant" if kind == "grant.approved" else "vendor")
        after = timedelta(minutes=len(self.entries) if minutes is None else minutes)
        draft = EntryDraft(
            kind=kind,
            at=AT + after,
            log_origin=self.origin,
            actor={"side": side, "via": "password", "id": who},
            subject=subject,
            facts=facts or {},
            personal={"name": "Zoë"} if kind == "grant.approved" else {},
        )
        data, opened = build_entry(draft)
        index = len(self.entries)
        self.openings += [Opening(index, o.field, o.salt, o.value) for o in opened]
        self.entries.append(data)

    def sign(self) -> None:
        hashes = [leaf_hash(entry) for entry in self.entries]
        self.notes.append(self.log_key.checkpoint(len(hashes), root(hashes), self.origin))

    def certificate(self, certificate: str, snapshot: str, **changes: Json) -> bytes:
        statement: dict[str, Json] = {
            "v": 1,
            "type": "destruction",
            "certificate": certificate,
            "snapshot": snapshot,
            "log": self.origin,
            **changes,
        }
        key = self.statements_key
        return seal(CERTIFICATE_TYPE, canonical(statement), key.name, key.public, key.sign)

    def issue(self, certificate: str, snapshot: str, envelope: bytes | None = None) -> None:
        envelope = envelope or self.certificate(certificate, snapshot)
        digest = hashlib.sha256(envelope).hexdigest()
        facts: dict[str, Json] = {
            "certificate": certificate,
            "snapshot": snapshot,
            "digest": digest,
        }
        self.record("certificate.issued", certificate, facts=facts)
        self.envelopes.append(envelope)

    def bundle(self) -> Bundle:
        return Bundle(
            origin=self.origin,
            entries=tuple(self.entries),
            openings=tuple(self.openings),
            checkpoints=tuple(self.notes),
            keys=tuple(key.format() for key in self.trusted),
            certificates=tuple(self.envelopes),
        )

    def export(self, **changes: object) -> bytes:
        return build_bundle(replace(self.bundle(), **changes))  # type: ignore[arg-type]  # by name


def small_log() -> Log:
    """Five entries, two checkpoints, one opening, one certificate."""
    log = Log()
    log.record("grant.approved", "grt_a")
    log.record("snapshot.ordered", "snp_a")
    log.sign()
    log.record("snapshot.destroyed", "snp_a")
    log.issue("crt_a", "snp_a")
    log.record("grant.ended", "grt_a")
    log.sign()
    return log

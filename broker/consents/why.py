"""Why an act was allowed: read from the log itself, entry after entry.

The log holds the consents and what was done on them in the order in which both happened (`ledger`),
so whoever has the log can answer, with no table of ours beside it. Pure, but for `read_log`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker import people
from broker.consents.purposes import (
    BY_KIND,
    LIVE_ACCESS,
    REGULAR_BACKUPS,
    SUPPORT_CONTACT,
    TEST_COPY,
    THIRD_PARTY,
    PurposeRow,
)
from broker.ids import TenantId
from broker.trail import AuditEntry, AuditLog
from broker.tx import Tx

CONSENT, APPROVAL, REGISTRATION = "consent", "approval", "registration"
CONTRACT, ENDING, LAW, NONE = "contract", "ending", "law", "none"
# What each ground says to who asks.
SAYS: Mapping[str, str] = {
    CONSENT: "whose it is to give consented to this purpose, and the consent was live",
    APPROVAL: "the organisation's admins approved it; the ledger of consents began later",
    REGISTRATION: "the database was registered, which allows its catalogue to be read",
    CONTRACT: "the service owes it: it lets people decide, and keeps the record",
    ENDING: "it ends or takes back something, which needs nobody's consent",
    LAW: "the law: a hold that was agreed to or ordered, or the order of an authority",
    NONE: "no ground was found",
}
# What is done with the data of a customer or a person. Each is looked at in `_list_needed`.
ACTS = frozenset(
    {
        *("grant.requested", "approval.given", "grant.approved"),
        *("lease.asked", "lease.issued", "lease.resume_asked", "lease.resumed"),
        *("snapshot.ordered", "snapshot.copying", "snapshot.ready"),
        *("snapshot.reset_asked", "snapshot.reset"),
        *("contact.shown", "handover.made"),
        *("backup_run.asked", "backup_run.issued"),
    }
)
_OTHERS: Mapping[str, str] = {
    **dict.fromkeys(("tenant", "admin", "member", "person", "invitation", "password"), CONTRACT),
    **dict.fromkeys(("token", "token_key", "login", "server", "key", "quarantine"), CONTRACT),
    **dict.fromkeys(("platform", "storage", "ticket", "decision", "standing"), CONTRACT),
    **dict.fromkeys(("review", "delegate", "policy", "glass", "certificate"), CONTRACT),
    **dict.fromkeys(
        ("purpose", "consent", "act", "passkey", "rights", "slot", "epoch", "contact"), CONTRACT
    ),
    **dict.fromkeys(("identity_provider", "identity", "directory", "webhook"), CONTRACT),
    **dict.fromkeys(("authenticator", "recovery_codes", "recovery_code"), CONTRACT),
    "log": LAW,
    "recipient": CONTRACT,
    **dict.fromkeys(("backup", "restore"), CONTRACT),
    "backup_run": ENDING,
    "retention": LAW,
    "breach": LAW,
    "improvement": CONTRACT,
    "order": LAW,
    **dict.fromkeys(("database", "preflight", "drill", "drills", "access", "plan"), REGISTRATION),
    **dict.fromkeys(("grant", "lease", "snapshot", "scope"), ENDING),
    **dict.fromkeys(("look", "remnant", "orphan", "stranger"), ENDING),
    "hold": LAW,
    "departure": ENDING,
}


_Key = tuple[str, str, str]  # purpose, person (empty: the organisation), what it is about


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the act at `position` (None: not yet integrated) was allowed.

    `consents` are the ids of the acts of the ledger that it rested on.
    """

    position: int | None
    at: datetime
    kind: str
    subject: str
    ground: str
    consents: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        return SAYS[self.ground]


@dataclass(slots=True)
class Reader:
    """Reads one log from its first entry on. `began_at` is when the ledger began."""

    began_at: datetime
    _live: dict[_Key, tuple[str, datetime]] = field(default_factory=dict)  # its act and its end
    _needed: dict[str, frozenset[_Key]] = field(default_factory=dict)  # by a lease

    def read(self, position: int | None, entry: Mapping[str, Any]) -> Reason:
        """The next entry, and why what it says was allowed."""
        kind, at = entry["kind"], datetime.fromisoformat(entry["at"])
        if kind.startswith("consent."):
            self._note(entry)
        ground, consents = self._explain(kind, at, entry)
        return Reason(position, at, kind, entry["subject"], ground, consents)

    def _note(self, entry: Mapping[str, Any]) -> None:
        facts = entry["facts"]
        key = (facts["purpose"], facts.get("person", ""), facts.get("about", ""))
        if "lapses_at" in facts:
            end = datetime.fromisoformat(facts["lapses_at"])
            self._live[key] = (entry["subject"], end)
        else:
            self._live.pop(key, None)

    def _explain(
        self, kind: str, at: datetime, entry: Mapping[str, Any]
    ) -> tuple[str, tuple[str, ...]]:
        if kind not in ACTS:
            return find_ground(kind), ()
        if kind == "handover.made" and "order" in entry["facts"]:
            return LAW, ()
        needed = self._list_needed(kind, entry)
        if at < self.began_at:
            return APPROVAL, ()
        live = {key: self._live[key] for key in needed if key in self._live}
        if not needed or len(live) < len(needed) or any(at >= end for _, end in live.values()):
            return NONE, ()
        return CONSENT, tuple(sorted(act for act, _ in live.values()))

    def _list_needed(self, kind: str, entry: Mapping[str, Any]) -> frozenset[_Key]:
        """What the act needed; remembered of a login from when it was asked for."""
        facts, subject = entry["facts"], entry["subject"]
        if kind == "contact.shown":
            return frozenset({(SUPPORT_CONTACT, facts["person"], facts["field"])})
        if kind == "handover.made":
            return frozenset({(THIRD_PARTY, "", facts["recipient"])})
        if kind.startswith("snapshot."):
            return _of_organisation(TEST_COPY)
        if kind == "lease.asked":
            of_copy = str(facts.get("on", "")).startswith("snp_")
            self._needed[subject] = _of_organisation(TEST_COPY if of_copy else LIVE_ACCESS)
        if kind == "backup_run.asked":
            self._needed[subject] = frozenset({(REGULAR_BACKUPS, "", facts["backup"])})
        if kind.startswith(("lease.", "backup_run.")):
            return self._needed.get(subject, frozenset())
        given = [p for kind, p in BY_KIND.items() if facts.get(f"{kind}_s", 0) > 0]
        return _of_organisation(*given)


def _of_organisation(*purposes: str) -> frozenset[_Key]:
    return frozenset((purpose, "", "") for purpose in purposes)


def explain(
    rows: Iterable[tuple[int | None, Mapping[str, Any]]], began_at: datetime
) -> Iterator[Reason]:
    """Of each entry of one log, in its order."""
    reader = Reader(began_at)
    for position, entry in rows:
        yield reader.read(position, entry)


def find_ground(kind: str) -> str:
    """Of a kind that is not looked at entry by entry; CONSENT of one that is."""
    return CONSENT if kind in ACTS else _OTHERS.get(kind.partition(".")[0], NONE)


def read_log(tx: Tx, log_id: str) -> Iterator[tuple[int | None, Mapping[str, Any]]]:
    """(position, entry) of a whole log; what is not integrated yet comes last."""
    query = (
        sa.select(AuditEntry.idx, AuditEntry.entry)
        .where(AuditEntry.log_id == log_id)
        .order_by(AuditEntry.idx.asc().nulls_last(), AuditEntry.id)
        .execution_options(yield_per=2000)
    )
    for row in tx.session.execute(query):
        yield row.idx, json.loads(row.entry)


def began_at(tx: Tx) -> datetime:
    """When the ledger began: when the first purpose was made known."""
    return tx.session.scalar(sa.select(sa.func.min(PurposeRow.loaded_at))) or tx.at


def list_reasons(tx: Tx, tenant_id: TenantId, subject: str) -> list[Reason]:
    """Why each act about `subject` (a grant, a login, a copy) was allowed, oldest first."""
    people.check(tx, "consent:read", tenant_id)
    log_id = tx.session.scalar(sa.select(AuditLog.id).where(AuditLog.tenant_id == tenant_id))
    if log_id is None:
        return []
    found = explain(read_log(tx, log_id), began_at(tx))
    return [reason for reason in found if reason.subject == subject]

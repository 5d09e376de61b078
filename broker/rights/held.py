"""What is held of people: table by table, the columns that name them, why, and what erasure does.

The list is data, and tests hold it to the schema: a column that refers to a person and is not here
fails the build, and so does a text column in which an independent scan finds somebody.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from broker.tx import Tx

ERASED, NAMELESS, KEPT = "erased", "nameless", "kept"
_PROOF = "proof of what was decided and done with a customer's data (GDPR 5(2), 17(3)(b) and (e))"
_AGREED = "proof that consent was given or withdrawn (GDPR 7(1), 17(3)(e))"
_ASKED = "proof that a person's request was answered in time (GDPR 5(2), 12(3))"


@dataclass(frozen=True, slots=True)
class Holding:
    """One table. `people` are its columns that name somebody, by id; `fate` at erasure: the rows
    are `erased`, left `nameless`, or `kept`, with an opaque id and no name, because of `why`.
    """

    table: str
    key: tuple[str, ...]
    people: tuple[str, ...]
    what: str
    fate: str = KEPT
    why: str = _PROOF


HOLDINGS = (
    Holding("person", ("id",), ("id",), "your account", NAMELESS),
    Holding("membership", ("id",), ("person_id",), "your roles", NAMELESS),
    Holding("web_session", ("id",), ("person_id",), "your sessions", ERASED),
    Holding("api_token", ("id",), ("person_id",), "your API tokens", ERASED),
    Holding("invitation", ("id",), ("person_id",), "invitations to you", ERASED),
    Holding("device_login", ("id",), ("person_id",), "command lines that you let in", ERASED),
    Holding("authenticator", ("person_id",), ("person_id",), "your authenticator", ERASED),
    Holding(
        "recovery_code", ("person_id", "code_digest"), ("person_id",), "your recovery codes", ERASED
    ),
    Holding("known_device", ("person_id", "token_digest"), ("person_id",), "your browsers", ERASED),
    Holding(
        "linked_identity",
        ("provider_id", "subject"),
        ("person_id",),
        "sign-in services that you are linked with",
        ERASED,
    ),
    Holding(
        "directory_person",
        ("tenant_id", "person_id"),
        ("person_id",),
        "what your organisation's directory says of you",
        ERASED,
    ),
    Holding("passkey", ("id",), ("person_id",), "your passkeys", ERASED),
    Holding("mail", ("id",), ("person_id",), "mails to you", ERASED),
    Holding("audit_opening", ("entry_id", "field"), ("person_id",), "your name in logs", ERASED),
    Holding("consent_act", ("id",), ("person_id", "by_id"), "consents that you gave", why=_AGREED),
    Holding("disclosure", ("id",), ("person_id", "shown_to"), "contact details that were shown"),
    Holding("retention_schedule", ("digest",), ("confirmed_by",), "schedules that you confirmed"),
    Holding("breach", ("id",), ("recorded_by",), "breaches that you recorded"),
    Holding("recipient", ("id",), ("added_by",), "recipients that you registered"),
    Holding("handover", ("id",), ("by_id",), "documents that you made for recipients"),
    Holding("authority_order", ("id",), ("recorded_by", "decided_by"), "orders that you handled"),
    Holding("rights_case", ("id",), ("person_id", "by_id"), "what you asked of us", why=_ASKED),
    Holding("erasure", ("person_id",), ("person_id", "by_id"), "erasures", why=_ASKED),
    Holding(
        "access_grant",
        ("id",),
        ("requester_id", "state_by", "paused_by"),
        "access that you asked for, decided or stopped",
    ),
    Holding("decision", ("id",), ("person_id", "for_id"), "your decisions"),
    Holding("standing_approval", ("id",), ("state_by",), "approvals in advance"),
    Holding(
        "standing_voice", ("standing_id", "person_id"), ("person_id",), "your agreement to them"
    ),
    Holding("delegation", ("id",), ("giver_id", "delegate_id", "ended_by"), "delegations"),
    Holding(
        "approval_policy",
        ("tenant_id", "version"),
        ("proposed_by", "confirmed_by"),
        "policies that you proposed, confirmed, or that name you",
    ),
    Holding(
        "backup_plan",
        ("id",),
        ("runner_id", "declared_by", "ended_by"),
        "regular backups that you declared or ended",
    ),
    Holding("backup_run", ("id",), ("runner_id", "state_by"), "runs of backups"),
    Holding("backup_restore", ("id",), ("asked_by", "state_by"), "restores that you asked"),
    Holding("lease", ("id",), ("person_id", "state_by", "paused_by"), "your logins and tokens"),
    Holding("snapshot", ("id",), ("requester_id", "state_by"), "copies that you ordered or ended"),
    Holding("departure", ("id",), ("state_by",), "departures of your organisation"),
    Holding("attestation", ("id",), ("person_id",), "what you said you took out of copies"),
    Holding("remnant", ("id",), ("state_by",), "remnants of copies"),
    Holding("legal_hold", ("id",), ("asked_by", "decided_by", "state_by"), "legal holds"),
    Holding("review", ("id",), ("state_by",), "reviews"),
    Holding("drill", ("id",), ("state_by",), "drills"),
    Holding("quarantine", ("id",), ("lifted_by",), "quarantines that you lifted"),
    Holding("glass_look", ("id",), ("asked_by",), "your looks at what was open"),
    Holding("glass_reader", ("person_id", "tenant_id"), ("person_id",), "when you last looked"),
)
# Columns that name people inside a document: searched for the id.
_INSIDE: Mapping[str, str] = {"approval_policy": "document::text"}
# What is no information about the person, but a secret or our own sealing.
_LEFT_OUT = (
    *(
        "password_hash",
        "token_digest",
        "device_digest",
        "code_digest",
        "verifier",
        "sealed",
        "sealed_to",
        "public",
    ),
    *("wrapped_key", "salt", "plan", "address_key", "address_fold"),
    *("credential_id", "cose_key", "public_key", "assertion", "last_step"),
)
# Texts that people wrote, in which somebody may be named: (table, key, column).
TEXTS = (
    ("access_grant", ("id",), "reason"),
    ("decision", ("id",), "note"),
    ("standing_approval", ("id",), "note"),
    ("review", ("id",), "note"),
    ("backup_plan", ("id",), "place"),
    ("backup_run", ("id",), "place"),
    ("backup_restore", ("id",), "reason"),
    ("backup_restore", ("id",), "target"),
    ("legal_hold", ("id",), "reason"),
    ("legal_hold", ("id",), "authority_order"),
    ("rights_case", ("id",), "said"),
    ("rights_case", ("id",), "answer"),
    ("ticket", ("id",), "title"),
    ("api_token", ("id",), "name"),
    ("mail", ("id",), "subject"),
    ("mail", ("id",), "text"),
    ("audit_opening", ("entry_id", "field"), "value"),
    ("passkey", ("id",), "name"),
    ("ticket_comment", ("id",), "text"),
    ("tenant", ("id",), "name"),
    ("tenant_database", ("id",), "name"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A row that names a person: by `columns`, whose names are those of the table."""

    table: str
    key: str
    columns: tuple[str, ...]
    row: dict[str, Any]


def key_sql(key: Collection[str]) -> str:
    """SQL for a row's key as one text: its parts joined by a space."""
    return " || ' ' || ".join(f"{name}::text" for name in key)


def read_holding(tx: Tx, holding: Holding, person_id: str) -> list[Found]:
    """The rows of one table that name the person, without secrets, by key."""
    named = [f"{name} = :person" for name in holding.people]
    if holding.table in _INSIDE:
        named.append(f"position(:person in {_INSIDE[holding.table]}) > 0")
    text = (
        f"SELECT {key_sql(holding.key)} AS key, to_jsonb(t) - CAST(:out AS text[]) AS row "  # noqa: S608  # names are the list's own
        f"FROM {holding.table} t WHERE {' OR '.join(named)} ORDER BY 1"
    )
    rows = tx.session.execute(sa.text(text), {"person": person_id, "out": list(_LEFT_OUT)})
    return [
        Found(
            holding.table,
            found.key,
            tuple(name for name in holding.people if found.row.get(name) == person_id),
            found.row,
        )
        for found in rows
    ]


def list_names(tx: Tx, person_id: str) -> list[str]:
    """What the person is called anywhere, and their addresses: what is looked for in texts."""
    rows = tx.session.execute(
        sa.text(
            "SELECT name, email FROM person WHERE id = :p "
            "UNION SELECT name, email FROM membership WHERE person_id = :p"
        ),
        {"p": person_id},
    )
    found = {word.strip() for row in rows for word in row}
    return sorted(word for word in found if len(word) >= 3)  # shorter ones stand in every word


def list_mentions(tx: Tx, person_id: str) -> list[Found]:
    """Texts of others, or of the person, that hold their name or address.

    Only where the text stands is said, never the text: it may be about somebody else too.
    """
    names = list_names(tx, person_id)
    found: list[Found] = []
    for table, key, column in TEXTS:
        text = (
            f"SELECT {key_sql(key)} AS key FROM {table} WHERE EXISTS (SELECT FROM "  # noqa: S608  # names are the list's own
            f"unnest(CAST(:names AS text[])) AS n WHERE strpos(lower({column}), lower(n)) > 0) "
            "ORDER BY 1"
        )
        rows = tx.session.execute(sa.text(text), {"names": names})
        found += [Found(table, row.key, (column,), {}) for row in rows]
    return found


def list_entries(tx: Tx, person_id: str) -> list[Found]:
    """Entries of logs by or about the person, or that name them among their facts."""
    rows = tx.session.execute(
        sa.text(
            "SELECT id::text AS key, entry FROM audit_entry "
            "WHERE subject = :p OR position(convert_to(:p, 'UTF8') in entry) > 0 ORDER BY id"
        ),
        {"p": person_id},
    )
    return [Found("audit_entry", row.key, ("entry",), json.loads(row.entry)) for row in rows]

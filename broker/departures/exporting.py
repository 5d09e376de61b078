"""What we hold of a customer, for its admins, at any time: every table's rows, as JSON in a zip.

Its log is a file of its own (`audit.export`), which proves what this one says. Nothing here is a
secret, nothing is another customer's; what an authority forbade to tell is not here (`LEFT_OUT`).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator

import sqlalchemy as sa

from broker import people, tenants, trail
from broker.ids import TenantId
from broker.tx import Tx

FORMAT = "support-access-broker/tenant/1"
_OWN = "tenant_id = :tenant"


def _under(column: str, table: str) -> str:
    return f"{column} IN (SELECT id FROM {table} WHERE {_OWN})"  # noqa: S608  # no value in it


# Which rows of a table are a customer's.
PARTS: dict[str, str] = {
    "tenant": "id = :tenant",
    **dict.fromkeys(
        (
            *("membership", "tenant_database", "platform", "storage", "approval_policy"),
            *("delegation", "standing_approval", "ticket", "access_grant", "lease", "snapshot"),
            *("remnant", "certificate", "revocation", "statement", "legal_hold", "review", "drill"),
            *("consent_act", "disclosure", "departure", "identity_provider"),
            *(
                "backup_plan",
                "backup_run",
                "backup_restore",
                "directory",
                "directory_person",
                "webhook",
            ),
        ),
        _OWN,
    ),
    "standing_voice": _under("standing_id", "standing_approval"),
    "decision": _under("grant_id", "access_grant"),
    "plan": _under("grant_id", "access_grant"),
    **dict.fromkeys(
        ("inventory_item", "look", "later_look", "attestation"), _under("snapshot_id", "snapshot")
    ),
    "live_scope": _under("database_id", "tenant_database"),
    "ticket_comment": _under("ticket_id", "ticket"),
    "webhook_delivery": _under("webhook_id", "webhook"),
}
LEFT_OUT: dict[str, str] = {
    "audit_log": "the log is a file of its own",
    **dict.fromkeys(
        ("audit_entry", "audit_checkpoint", "audit_tile", "root_place", "unexplained_act"),
        "the log is a file of its own",
    ),
    "audit_opening": "the log is a file of its own",
    "trusted_time": "it stands in the log's file",
    "authority_order": "an authority may forbid to tell; those that may be told are on a page",
    "handover": "it may follow an order that may not be told; others are on a page",
    "find": "what the janitor remembers of places, with others' names",
    "mail": "each is its reader's",
    "glass_reader": "when a reader last looked",
    **dict.fromkeys(
        ("web_session", "linked_identity"), "a person's own: see the rights of persons"
    ),
    "oidc_answer": "a sign-in under way, for minutes",
    "reminder": "that a mail was written",
}
# Bytes are sealed passwords, digests and keys, but for what is signed; a verifier is nobody's to
# read either.
_HIDDEN = sa.text("""
    SELECT coalesce(array_agg(column_name::text), '{}') FROM information_schema.columns
     WHERE table_schema = 'public' AND table_name = :table
       AND (data_type = 'bytea' AND column_name <> 'envelope' OR column_name = 'verifier')
""")


def export(tx: Tx, tenant_id: TenantId) -> bytes:
    """The zip: `export.json`, a row a line, and `README.txt`. It is noted in the log."""
    people.check(tx, "tenant:export", tenant_id)
    tenants.get_tenant(tx, tenant_id)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("README.txt", _README)
        with archive.open("export.json", "w") as file:
            for line in _lines(tx, tenant_id):
                file.write(line.encode())
    written = made.getvalue()
    trail.record(tx, tenant_id, "tenant.exported", tenant_id, {"bytes": len(written)})
    return written


def _lines(tx: Tx, tenant_id: TenantId) -> Iterator[str]:
    head = {"format": FORMAT, "tenant": tenant_id, "made_at": tx.at.isoformat()}
    yield json.dumps(head)[:-1] + ', "tables": {'
    for number, (table, where) in enumerate(PARTS.items()):
        yield f"{',' if number else ''}\n{json.dumps(table)}: ["
        asked = f"SELECT to_jsonb(t) - CAST(:hidden AS text[]) FROM {table} t WHERE {where}"  # noqa: S608  # names are the list's own
        hidden = tx.session.scalar(_HIDDEN, {"table": table})
        rows = tx.session.scalars(sa.text(asked), {"tenant": tenant_id, "hidden": hidden})
        for place, row in enumerate(rows):
            yield f"{',' if place else ''}\n{json.dumps(row, ensure_ascii=False)}"
        yield "]"
    yield "}}\n"


_README = """What we hold of your organisation, as it stood when you asked.

export.json has each table with its rows; bytes are hexadecimal, instants are UTC. It has no secret.
Your audit log is a file of its own, which proves what stands here: download it beside this one and
verify it with a verifier that needs nothing of us (broker log export, broker log verify).
People are named by ids; their names stand in `membership`.
"""

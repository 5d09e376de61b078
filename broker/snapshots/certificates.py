"""Certificates: the signed statement that a copy was destroyed, how, and what remains.

A statement holds ids, digests and instants: no person's name, no address, no ticket title, no free
text, so that erasing a person breaks no signature (G13). It claims no more than was done: NIST
SP 800-88's words, `clear` and `cryptographic erase`, per place, and residue with its reason.

A certificate that was proved wrong is revoked by a signed statement that points at it, and replaced
once what was found is destroyed too: a snapshot has one valid certificate at most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from broker import __version__, entries, mail, people, retries, trail
from broker.audit import dsse
from broker.audit.certified import CERTIFICATE_TYPE, statements_key_name
from broker.audit.revocation import REVOCATION_TYPE
from broker.errors import NOT_THERE, NotFound
from broker.grants.model import Decision, Grant
from broker.ids import CertificateId, TenantId, new_id
from broker.keys import STATEMENTS_KEY
from broker.letters import Letter, phrase
from broker.retries import FAILURES, describe
from broker.snapshots import attesting
from broker.snapshots.holds import list_of_snapshot
from broker.snapshots.model import Certificate, Look, Remnant, Revocation, Snapshot
from broker.snapshots.ordering import list_inventory
from broker.snapshots.ports import Ports
from broker.snapshots.remnants import find_certificate, find_open, get_ended
from broker.tenants import get_tenant
from broker.tickets import comments
from broker.tx import Tx, system

_WORKER = system("worker")

METHODS = {
    "data key": "cryptographic erase: the snapshot's own wrapping key was erased",
    "artifact": "clear: every object, version and unfinished upload was deleted; sealed all along",
    "sandbox database": "clear: the database was dropped and a checkpoint asked for",
    "sandbox role": "clear: the role was dropped",
}
# On a server of its own, what was on the volume went with the volume's key.
METHODS_DEDICATED = {
    **METHODS,
    "volume key": "cryptographic erase: the volume's own wrapping key was erased",
    "server volume": "purge by cryptographic erase: it was encrypted from its first byte, its key "
    "was erased; then unmounted and deleted",
    "server process": "ended: every process of the copy's own server",
    "sandbox database": "purge by cryptographic erase: it was on the copy's own volume alone",
    "sandbox role": "purge by cryptographic erase: it was on the copy's own volume alone",
}
RESIDUE_DEDICATED = (
    "dedicated test server: freed blocks of its disk may hold the volume's ciphertext, whose key "
    "is gone; what its memory held is the host's to forbid from swap and core dumps"
)
RESIDUE_SHARED = (
    "shared test server: freed blocks of its volume and write-ahead log segments not yet removed "
    "may hold masked rows, columns that were approved as kept, and what engineers wrote, until "
    "they are overwritten or the volume's key is changed"
)

_SOFTWARE = f"support-access-broker {__version__}"


def certify(ports: Ports, identity: str) -> None:
    """Sign and store the certificate of a destroyed copy, or remnant, once; mail it to the admins.

    None is issued while a part of the copy is known to be left: its remnant brings the certificate.
    """
    try:
        with ports.database.begin(_WORKER) as tx:
            snapshot, remnant = get_ended(tx, identity)
            tx.session.refresh(snapshot, with_for_update=True)
            row = remnant or snapshot
            if row.state != "destroyed":
                return
            if find_open(tx, snapshot.id) is None:
                if remnant is not None:
                    _revoke(tx, ports, remnant)
                if find_certificate(tx, snapshot.id) is None:
                    _issue(tx, ports, snapshot, remnant)
            retries.note_success(row)
    except FAILURES as error:
        with ports.database.begin(_WORKER) as tx:
            snapshot, remnant = get_ended(tx, identity)
            retries.note_failure(remnant or snapshot, tx.at, describe(error))


def revoke_certificate(ports: Ports, remnant_id: str) -> None:
    """Sign and store the revocation of the certificate that a remnant proves wrong, once."""
    with ports.database.begin(_WORKER) as tx:
        _revoke(tx, ports, tx.session.get_one(Remnant, remnant_id, with_for_update=True))


def _revoke(tx: Tx, ports: Ports, remnant: Remnant) -> None:
    identity = remnant.certificate_id
    if identity is None or tx.session.get(Revocation, identity) is not None:
        return
    certificate = get_certificate(tx, identity)
    digest = hashlib.sha256(certificate.envelope).hexdigest()
    origin = get_tenant(tx, remnant.tenant_id).log_origin
    statement = {
        "v": 1,
        "type": "revocation",
        "certificate": identity,
        "digest": digest,
        "log": origin,
        "tenant": remnant.tenant_id,
        "snapshot": remnant.snapshot_id,
        "remnant": remnant.id,
        "found": remnant.kinds,
        "at": {"found": _instant(remnant.found_at), "revoked": _instant(tx.at)},
        "software": _SOFTWARE,
    }
    envelope = _seal(ports, REVOCATION_TYPE, statement, origin)
    tx.session.add(
        Revocation(
            certificate_id=identity,
            tenant_id=remnant.tenant_id,
            remnant_id=remnant.id,
            envelope=envelope,
            revoked_at=tx.at,
        )
    )
    facts = {
        "certificate": identity,
        "digest": hashlib.sha256(envelope).hexdigest(),
        "snapshot": remnant.snapshot_id,
        "remnant": remnant.id,
    }
    trail.record(tx, TenantId(remnant.tenant_id), "certificate.revoked", identity, facts)


def _seal(ports: Ports, kind: str, statement: dict[str, Any], origin: str) -> bytes:
    return dsse.seal(
        kind,
        entries.canonical(statement, max_bytes=dsse.MAX_PAYLOAD_BYTES),
        statements_key_name(origin),
        ports.keys.public(STATEMENTS_KEY),
        lambda message: ports.keys.sign(STATEMENTS_KEY, message),
    )


def _issue(tx: Tx, ports: Ports, snapshot: Snapshot, remnant: Remnant | None) -> None:
    tenant_id = TenantId(snapshot.tenant_id)
    origin = get_tenant(tx, tenant_id).log_origin
    identity = CertificateId(new_id("crt"))
    statement = _statement(tx, identity, snapshot, origin)
    if remnant is not None:
        statement |= _about_remnant(tx, remnant)
    envelope = _seal(ports, CERTIFICATE_TYPE, statement, origin)
    tx.session.add(
        Certificate(
            id=identity,
            tenant_id=tenant_id,
            snapshot_id=snapshot.id,
            remnant_id=remnant.id if remnant else None,
            envelope=envelope,
            issued_at=tx.at,
        )
    )
    facts = {
        "certificate": identity,
        "digest": hashlib.sha256(envelope).hexdigest(),
        "snapshot": snapshot.id,
    }
    trail.record(tx, tenant_id, "certificate.issued", identity, facts)
    _comment_destroyed(tx, snapshot, identity)
    replaced = remnant.certificate_id if remnant is not None else None
    letter = _write_letter(tx, snapshot, identity, replaced)
    mail.write_to_roles(tx, tenant_id, ["admin"], letter)


def _write_letter(
    tx: Tx, snapshot: Snapshot, certificate_id: CertificateId, replaced: str | None
) -> Letter:
    gone = phrase(
        "The copy %(copy)s of your database was destroyed, and looks through other connections "
        "found nothing of it. The signed certificate is attached.",
        copy=snapshot.id,
    )
    instead = phrase(
        "This certificate replaces %(certificate)s, which was revoked.", certificate=replaced or ""
    )
    verify = phrase(
        "You can verify it without us and without a network:\n  %(command)s\n"
        "KEYFILE holds the vendor's key that you pinned when you were enrolled.",
        command=f"broker certificates verify {certificate_id}.dsse.json --key KEYFILE",
    )
    return Letter(
        phrase(
            "Your copy %(copy)s was destroyed: certificate %(certificate)s",
            copy=snapshot.id,
            certificate=certificate_id,
        ),
        [gone, instead, verify] if replaced else [gone, verify],
        kind="destroyed",
        page=f"/certificates/{certificate_id}",
        thread=tx.session.get_one(Grant, snapshot.grant_id).ticket_id,
        attachment=certificate_id,
    )


def _comment_destroyed(tx: Tx, snapshot: Snapshot, certificate_id: CertificateId) -> None:
    ticket_id = tx.session.get_one(Grant, snapshot.grant_id).ticket_id
    text = f"Copy {snapshot.id} was destroyed, and looks found nothing of it. Its certificate:"
    path = f"/certificates/{certificate_id}"
    comments.write(tx, ticket_id, f"{certificate_id}:issued", text, path)


def _about_remnant(tx: Tx, remnant: Remnant) -> dict[str, Any]:
    """What a certificate says that follows a find: the looks are those since, the find included."""
    looked = tx.session.scalars(
        sa.select(Look).where(Look.remnant_id == remnant.id).order_by(Look.id)
    ).all()
    return {
        "replaces": remnant.certificate_id,
        "remnant": {
            "id": remnant.id,
            "found": remnant.kinds,
            "at": _instant(remnant.found_at),
            "destroyed": _instant(remnant.destroyed_at),
        },
        "looks": _looks(looked),
    }


def _statement(tx: Tx, identity: CertificateId, snapshot: Snapshot, origin: str) -> dict[str, Any]:
    grant = tx.session.get_one(Grant, snapshot.grant_id)
    decision = tx.session.scalar(
        sa.select(Decision).where(Decision.grant_id == grant.id, Decision.settles)
    )
    looked = tx.session.scalars(
        sa.select(Look)
        .where(Look.snapshot_id == snapshot.id, Look.remnant_id.is_(None))
        .order_by(Look.id)
    ).all()
    erased_at = next((look.at for look in looked if look.kind == "key erased"), None)
    return {
        "v": 1,
        "type": "destruction",
        "certificate": identity,
        "log": origin,
        "tenant": snapshot.tenant_id,
        "snapshot": snapshot.id,
        "database": snapshot.database_id,
        "grant": grant.id,
        "ticket": grant.ticket_id,
        "decision": decision.id if decision else None,
        "plan": {"shown": grant.asked_digest, "given": snapshot.plan_digest},
        "why": snapshot.condemned_why,
        "at": {
            "ordered": _instant(snapshot.ordered_at),
            "ready": _instant(snapshot.ready_at),
            "condemned": _instant(snapshot.condemned_at),
            "key_erased": _instant(erased_at),
            "destroyed": _instant(snapshot.destroyed_at),
            "issued": _instant(tx.at),
        },
        "inventory": [
            {"kind": item.kind, "place": item.place, "written": _instant(item.written_at)}
            for item in list_inventory(tx, snapshot.id)
        ],
        "looks": _looks(looked),
        "method": METHODS if snapshot.port is None else METHODS_DEDICATED,
        "residue": [RESIDUE_SHARED if snapshot.port is None else RESIDUE_DEDICATED],
        **_about_holds(tx, snapshot.id),
        "attested": [
            {"by": said.person_id, "took": said.took, "at": _instant(said.at)}
            for said in attesting.list_said(tx, snapshot.id)
        ],
        "not_covered": [
            "what people took out by hand from the sandbox, by copying from their screens or files"
        ],
        "software": _SOFTWARE,
    }


def _about_holds(tx: Tx, snapshot_id: str) -> dict[str, Any]:
    """Legal holds that were in force: what kept the destruction waiting, on whose word."""
    begun = [hold for hold in list_of_snapshot(tx, snapshot_id) if hold.begun_at is not None]
    told = [
        {
            "hold": hold.id,
            "basis": hold.basis,
            "begun": _instant(hold.begun_at),
            "until": _instant(hold.ends_at),
            "closed": _instant(hold.closed_at),
            "ended": _instant(hold.state_at) if hold.state == "over" else None,
        }
        for hold in begun
    ]
    return {"holds": told} if told else {}


def _looks(looked: Sequence[Look]) -> list[dict[str, Any]]:
    return [
        {
            "kind": look.kind,
            "place": look.place,
            "method": look.method,
            "found": look.found,
            "at": _instant(look.at),
        }
        for look in looked
        if look.kind != "key erased"
    ]


def _instant(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None


def find_revocation(tx: Tx, certificate_id: str) -> Revocation | None:
    return tx.session.get(Revocation, certificate_id)


def get_certificate(tx: Tx, certificate_id: str) -> Certificate:
    row = tx.session.get(Certificate, certificate_id)
    if row is None:
        raise NotFound(NOT_THERE)
    return row


def check_readable(tx: Tx, certificate_id: str) -> Certificate:
    row = get_certificate(tx, certificate_id)
    people.check(tx, "certificate:read", TenantId(row.tenant_id))
    return row


def list_of_tenant(tx: Tx, tenant_id: TenantId) -> Sequence[Certificate]:
    people.check(tx, "certificate:read", tenant_id)
    query = sa.select(Certificate).where(Certificate.tenant_id == tenant_id)
    return tx.session.scalars(query.order_by(Certificate.issued_at.desc())).all()


def list_envelopes(tx: Tx, ids: Sequence[str]) -> Sequence[tuple[str, bytes]]:
    """Those of a bundle: whoever may read the log may read its certificates."""
    query = sa.select(Certificate.id, Certificate.envelope).where(Certificate.id.in_(ids))
    return [(row.id, row.envelope) for row in tx.session.execute(query.order_by(Certificate.id))]


def read_attachment(tx: Tx, certificate_id: str) -> bytes:
    return get_certificate(tx, certificate_id).envelope


def read_statement(envelope: bytes) -> dict[str, Any]:
    """What an envelope says, for showing; it is verified by whoever doubts it, not here."""
    import base64
    import json

    payload = json.loads(envelope)["payload"]
    statement: dict[str, Any] = json.loads(base64.b64decode(payload))
    return statement
